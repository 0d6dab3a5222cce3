//! Which walsender of which server serves which standby.

use std::net::IpAddr;

use crate::{ServerStatus, StandbyStatus, Visible, Walsender, WalsenderState};

use super::Answer;

/// A walsender, by its server's place among the answers and its own among that server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WalsenderRef {
    pub(super) server: usize,
    pub(super) walsender: usize,
}

/// Every walsender of those that answered.
pub(super) fn walsenders(answers: &[Answer]) -> impl Iterator<Item = (WalsenderRef, &Walsender)> {
    answers.iter().enumerate().flat_map(|(server, answer)| {
        let walsenders = answer.outcome.iter().flat_map(|status| &status.walsenders);
        walsenders.enumerate().map(move |(walsender, found)| {
            let reference = WalsenderRef { server, walsender };
            (reference, found)
        })
    })
}

/// The walsenders of a server that have caught up.
pub(super) fn streaming(server: &ServerStatus) -> impl Iterator<Item = &Walsender> {
    server.walsenders.iter().filter(|walsender| {
        walsender
            .progress
            .shown()
            .is_some_and(|progress| progress.state == WalsenderState::Streaming)
    })
}

/// For each answer, the walsender that serves it, where that can be told. The best matches are taken
/// first, and each walsender serves one receiver.
pub(super) fn match_walsenders(answers: &[Answer]) -> Vec<Option<WalsenderRef>> {
    let mut candidates = Vec::new();
    for (server, answer) in answers.iter().enumerate() {
        let Ok(upstream) = &answer.outcome else {
            continue;
        };
        for (index, walsender) in upstream.walsenders.iter().enumerate() {
            for (receiver, asked) in answers.iter().enumerate() {
                let score = (receiver != server)
                    .then(|| likeness(&answer.endpoint, upstream, walsender, asked))
                    .flatten();
                if let Some(score) = score {
                    let reference = WalsenderRef {
                        server,
                        walsender: index,
                    };
                    candidates.push((score, receiver, reference));
                }
            }
        }
    }
    candidates.sort_by_key(|(score, _, _)| std::cmp::Reverse(*score));
    let mut matched: Vec<Option<WalsenderRef>> = vec![None; answers.len()];
    for (_, receiver, reference) in candidates {
        if matched[receiver].is_none() && !matched.contains(&Some(reference)) {
            matched[receiver] = Some(reference);
        }
    }
    match_by_address(answers, &mut matched);
    matched
}

/// Of a server that did not answer only its address is known. It is taken for the receiver at that
/// address where there is one such server and one such receiver.
fn match_by_address(answers: &[Answer], matched: &mut [Option<WalsenderRef>]) {
    let unserved =
        walsenders(answers).filter(|(reference, _)| !matched.contains(&Some(*reference)));
    let receivers: Vec<(IpAddr, WalsenderRef)> = unserved
        .filter_map(|(reference, walsender)| {
            let progress = walsender.progress.shown()?;
            Some((progress.client_addr?, reference))
        })
        .collect();
    let silent = |index: usize, client: &IpAddr| {
        let answer: &Answer = &answers[index];
        answer.outcome.is_err() && answer.addresses.contains(client)
    };
    for (client, reference) in &receivers {
        let alone = receivers
            .iter()
            .filter(|(other, _)| other == client)
            .count()
            == 1;
        let unmatched =
            (0..answers.len()).filter(|index| matched[*index].is_none() && silent(*index, client));
        let candidates: Vec<usize> = unmatched.collect();
        if let ([only], true) = (&candidates[..], alone) {
            matched[*only] = Some(*reference);
        }
    }
}

/// Evidence that `walsender` serves `asked`, by weight; `None` where there is too little, or any
/// against it. A slot's name decides, then the name a receiver gives itself.
fn likeness(
    endpoint: &str,
    upstream: &ServerStatus,
    walsender: &Walsender,
    asked: &Answer,
) -> Option<u32> {
    const SLOT: u32 = 16;
    const NAME: u32 = 8;
    const LED_HERE: u32 = 4;
    const PORT: u32 = 2;
    const ADDRESS: u32 = 1;

    let mut score = 0;
    let led_here = asked.seen_by.as_ref() == Some(&(endpoint.to_owned(), walsender.pid));
    if led_here {
        score += LED_HERE;
    }
    let client = walsender
        .progress
        .shown()
        .and_then(|progress| progress.client_addr);
    if client.is_some_and(|client| asked.addresses.contains(&client)) {
        score += ADDRESS;
    }
    if let Some(member) = &asked.member {
        score += u32::from(walsender.application_name.eq_ignore_ascii_case(member)) * NAME;
    }
    if let Ok(status) = &asked.outcome {
        let standby = status.standby()?;
        if status.system_identifier != upstream.system_identifier {
            return None;
        }
        score += standby_likeness(upstream, walsender, status, standby, (SLOT, NAME, PORT))?;
    }
    (score >= LED_HERE).then_some(score)
}

fn standby_likeness(
    upstream: &ServerStatus,
    walsender: &Walsender,
    status: &ServerStatus,
    standby: &StandbyStatus,
    (slot, name, port): (u32, u32, u32),
) -> Option<u32> {
    let mut score = 0;
    match &standby.walreceiver {
        Visible::Shown(None) => return None,
        Visible::Shown(Some(walreceiver)) => {
            let sender = walreceiver.sender.as_ref();
            if sender.is_some_and(|sender| sender.port == upstream.port) {
                score += port;
            }
            match (&walsender.slot_name, &walreceiver.slot_name) {
                (Some(held), Some(used)) if held.as_str() == used => score += slot,
                (None, None) => {}
                _ => return None,
            }
        }
        Visible::Hidden => {}
    }
    match &standby.application_name {
        Visible::Shown(own) if *own == walsender.application_name => score += name,
        Visible::Shown(_) => return None,
        Visible::Hidden if status.cluster_name == walsender.application_name => score += name,
        Visible::Hidden => {}
    }
    Some(score)
}
