//! What a clone holds is what the source sent: proven, not hoped.

use std::process::Command;

use manada_testbed::{Outcome, Programs, Scratch, TestServer};
use manada_wal::clone::{ChecksumAlgorithm, CloneError, CloneRequest, FileFault};

use crate::fixture::{fill, names_in, request, run, source, source_at};
use crate::proxy::{Fault, Proxy};

pub(crate) fn a_clone_is_what_pg_verifybackup_accepts(programs: Programs) -> Outcome {
    let server = TestServer::start(&programs);
    fill(&server, 8);
    let place = Scratch::new();
    let verifier = programs.program("pg_verifybackup");
    for checksums in [ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Sha256] {
        let target = place.path().join(checksums.name());
        let request = CloneRequest {
            checksums,
            ..request(source(&server), &target)
        };
        let report = run(request).expect("the clone succeeds");
        assert!(report.files > 500 && report.bytes > 8 << 20, "{report:?}");
        // Servers that come without client programs have no verifier.
        if verifier.exists() && programs.program("pg_waldump").exists() {
            let verified = Command::new(&verifier).arg(&target).output();
            let verified = verified.expect("it can be run");
            let said = String::from_utf8_lossy(&verified.stderr);
            assert!(verified.status.success(), "{said}");
        }
    }
    Ok(())
}

pub(crate) fn a_byte_that_is_flipped_on_the_way_is_noticed() -> Outcome {
    let server = TestServer::start(&Programs::any()?);
    fill(&server, 64);
    let place = Scratch::new();
    // In the middle of the table, which is more than half of all.
    let proxy = Proxy::start(
        server.port(),
        Fault::FlipByte {
            after_bytes: 60 << 20,
        },
    );
    let through_proxy = source_at(&server, proxy.port());
    let failed =
        run(request(through_proxy, &place.path().join("data"))).expect_err("it is damaged");
    assert_eq!(proxy.struck(), 1);
    assert!(
        matches!(
            failed,
            CloneError::File {
                fault: FileFault::Checksum,
                ..
            }
        ),
        "{failed:?}"
    );
    assert_eq!(names_in(place.path()), Vec::<String>::new());
    Ok(())
}
