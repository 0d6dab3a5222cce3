//! A part of a state that many states have in common: copied only when it is changed, and hashed
//! once.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// A value that is cheap to clone and to hash again.
#[derive(Clone)]
pub struct Shared<T>(Arc<Hashed<T>>);

struct Hashed<T> {
    value: T,
    digest: OnceLock<u64>,
}

impl<T: Clone> Clone for Hashed<T> {
    fn clone(&self) -> Hashed<T> {
        Hashed {
            value: self.value.clone(),
            digest: self.digest.clone(),
        }
    }
}

impl<T> Shared<T> {
    /// Takes it in.
    pub fn new(value: T) -> Shared<T> {
        Shared(Arc::new(Hashed {
            value,
            digest: OnceLock::new(),
        }))
    }
}

impl<T: Clone> Shared<T> {
    /// To change it.
    pub fn make_mut(&mut self) -> &mut T {
        let hashed = Arc::make_mut(&mut self.0);
        hashed.digest = OnceLock::new();
        &mut hashed.value
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: Hash> Shared<T> {
    /// The same for equal values, in every run.
    pub fn digest(&self) -> u64 {
        *self.0.digest.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            self.0.value.hash(&mut hasher);
            hasher.finish()
        })
    }
}

impl<T: Hash> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest().hash(state);
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Shared<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.value == other.0.value
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}
