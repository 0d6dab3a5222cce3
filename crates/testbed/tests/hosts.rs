//! Hosts are apart from this machine, reach each other, suffer the faults they are given, and
//! are gone afterwards.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use manada_testbed::faults::{LoopDisk, Partition, ReadOnly, SlowLink, SmallDisk};
use manada_testbed::{
    Host, Network, Outcome, Programs, Scratch, TestServer, poll_until, trials, wait_until,
};

trials![
    hosts_reach_each_other_by_name_and_address,
    a_network_is_not_seen_by_another_or_by_this_machine,
    a_command_runs_as_the_user_it_was_given,
    a_partition_silences_both_ways_until_it_heals,
    a_one_way_partition_lets_the_other_way_through,
    an_isolated_host_reaches_itself_alone,
    a_reset_ends_open_connections,
    a_slow_link_takes_its_time,
    a_standby_on_another_host_follows_its_primary,
    a_paused_host_is_silent_and_a_crashed_one_has_no_process,
    a_small_disk_gets_full,
    a_full_disk_takes_what_there_was_space_kept_for,
    a_disk_comes_back_without_what_was_not_synced,
    a_read_only_directory_refuses_root,
    a_dropped_network_leaves_nothing,
];

const SOON: Duration = Duration::from_millis(300);

fn hosts_reach_each_other_by_name_and_address() -> Outcome {
    let network = Network::new()?;
    let (one, other) = (network.host("one"), network.host("other"));
    assert_ne!(one.address(), other.address());
    assert_eq!(said(one.command("hostname")), "one");
    assert_eq!(
        said(one.command("getent").args(["ahostsv4", "other"]))
            .split(' ')
            .next(),
        Some(other.address())
    );
    let (mut here, mut there) = connection(&one, &other);
    here.write_all(b"hello").expect("it is open");
    let mut heard = [0; 5];
    there.read_exact(&mut heard).expect("it is open");
    assert_eq!(&heard, b"hello");
    Ok(())
}

fn a_network_is_not_seen_by_another_or_by_this_machine() -> Outcome {
    let (network, apart) = (Network::new()?, Network::new()?);
    let host = network.host("same_name");
    let namesake = apart.host("same_name");
    assert_eq!(host.address(), namesake.address());
    let listener = listen(&host);
    let port = listener.local_addr().expect("it listens").port();
    assert!(namesake.connect(host.address(), port).is_err());
    let from_here = TcpStream::connect_timeout(
        &format!("{}:{port}", host.address())
            .parse()
            .expect("an address"),
        SOON,
    );
    assert!(from_here.is_err());
    Ok(())
}

fn a_command_runs_as_the_user_it_was_given() -> Outcome {
    let network = Network::new()?;
    let host = network.host("one");
    let home = host.home().join("nobody");
    std::fs::create_dir(&home).expect("root may");
    assert_eq!(said(host.command("id").arg("-un")), "root");
    assert_eq!(
        said(host.command_as("nobody", &home, "id").arg("-un")),
        "nobody"
    );
    assert_eq!(
        said(host.command_as("nobody", &home, "pwd")),
        home.display().to_string()
    );
    Ok(())
}

fn a_partition_silences_both_ways_until_it_heals() -> Outcome {
    let network = Network::new()?;
    let (one, other) = (network.host("one"), network.host("other"));
    let (mut here, mut there) = connection(&one, &other);
    let partition = Partition::between(&one, &other);
    assert!(!partition.was_felt());
    here.write_all(b"a").expect("the kernel takes it");
    there.write_all(b"b").expect("the kernel takes it");
    assert!(is_silent(&mut here) && is_silent(&mut there));
    assert!(partition.was_felt());
    partition.heal();
    assert_eq!((byte(&mut here), byte(&mut there)), (b'b', b'a'));
    Ok(())
}

fn a_one_way_partition_lets_the_other_way_through() -> Outcome {
    let network = Network::new()?;
    let (one, other) = (network.host("one"), network.host("other"));
    let (mut here, mut there) = connection(&one, &other);
    let partition = Partition::one_way(&one, &other);
    here.write_all(b"a").expect("the kernel takes it");
    there.write_all(b"b").expect("the kernel takes it");
    assert_eq!(byte(&mut here), b'b');
    assert!(is_silent(&mut there));
    partition.heal();
    assert_eq!(byte(&mut there), b'a');
    Ok(())
}

fn an_isolated_host_reaches_itself_alone() -> Outcome {
    let network = Network::new()?;
    let (one, other) = (network.host("one"), network.host("other"));
    let (mut here, mut there) = connection(&one, &other);
    let (mut own, mut own_end) = connection(&one, &one);
    let _alone = Partition::isolating(&one);
    here.write_all(b"a").expect("the kernel takes it");
    assert!(is_silent(&mut there));
    own.write_all(b"c").expect("it is open");
    assert_eq!(byte(&mut own_end), b'c');
    Ok(())
}

fn a_reset_ends_open_connections() -> Outcome {
    let network = Network::new()?;
    let (one, other) = (network.host("one"), network.host("other"));
    let (mut here, _there) = connection(&one, &other);
    let _reset = Partition::resetting(&one, &other);
    here.write_all(b"a").expect("the kernel takes it");
    here.set_read_timeout(Some(manada_testbed::PATIENCE))
        .expect("a bound");
    let error = here.read(&mut [0; 1]).expect_err("it was reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let refused = one.connect(other.address(), 1).expect_err("it is reset");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    Ok(())
}

fn a_slow_link_takes_its_time() -> Outcome {
    let network = Network::new()?;
    let (one, other) = (network.host("one"), network.host("other"));
    let (mut here, mut there) = connection(&one, &other);
    let _slow = SlowLink::from(&one, 100);
    let began = std::time::Instant::now();
    here.write_all(&[0; 64 * 1024]).expect("it is open");
    there.read_exact(&mut [0; 64 * 1024]).expect("it is open");
    // 48 kB after the first burst, at 100 kB a second.
    assert!(began.elapsed() > Duration::from_millis(400));
    Ok(())
}

fn a_standby_on_another_host_follows_its_primary() -> Outcome {
    let programs = Programs::any()?;
    let network = Network::new()?;
    let (one, other) = (network.host("one"), network.host("other"));
    let primary = TestServer::with(&programs).on(&one).start();
    let standby = TestServer::with(&programs)
        .on(&other)
        .start_standby_of(&primary, "s1");
    primary.query("CREATE TABLE seen AS SELECT 42 AS number");
    standby.wait_for("SELECT to_regclass('seen') IS NOT NULL", "t");
    assert_eq!(
        primary.value("SELECT host(client_addr) FROM pg_stat_replication"),
        other.address()
    );
    Ok(())
}

fn a_paused_host_is_silent_and_a_crashed_one_has_no_process() -> Outcome {
    let network = Network::new()?;
    let host = network.host("one");
    let server = TestServer::with(&Programs::any()?).on(&host).start();
    let session = server.session();
    host.pause();
    let answer = session.start("SELECT 1");
    assert!(answer.within(SOON).is_none());
    host.resume();
    assert!(answer.within(manada_testbed::PATIENCE).is_some());
    host.crash();
    assert!(host.process_ids().is_empty());
    assert!(!server.is_running());
    Ok(())
}

fn a_small_disk_gets_full() -> Outcome {
    let scratch = Scratch::new();
    let disk = SmallDisk::mount(scratch.path().join("disk"), 1)?;
    let file = disk.path().join("file");
    disk.fill();
    let error = std::fs::write(&file, [0; 8192]).expect_err("no space");
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    disk.make_room();
    std::fs::write(&file, [0; 8192]).expect("there is space");
    Ok(())
}

fn a_full_disk_takes_what_there_was_space_kept_for() -> Outcome {
    let scratch = Scratch::new();
    let disk = LoopDisk::mount(scratch.path().join("disk"), 16)?;
    let log = disk.path().join("log");
    std::fs::write(&log, "before\n").expect("there is space");
    disk.reserve(&log, 1 << 20);
    disk.fill();
    let mut file = File::options()
        .append(true)
        .open(&log)
        .expect("it is there");
    file.write_all(&[b'x'; 512 << 10])
        .expect("space was kept for it");
    file.sync_all().expect("space was kept for it");
    let other = std::fs::write(disk.path().join("other"), [0; 512 << 10]);
    assert_eq!(other.expect_err("no space").kind(), ErrorKind::StorageFull);
    disk.make_room();
    std::fs::write(disk.path().join("other"), [0; 512 << 10]).expect("there is space");
    Ok(())
}

fn a_disk_comes_back_without_what_was_not_synced() -> Outcome {
    let scratch = Scratch::new();
    let disk = LoopDisk::mount(scratch.path().join("disk"), 16)?;
    let (synced, unsynced) = (disk.path().join("synced"), disk.path().join("unsynced"));
    let mut file = File::create(&synced).expect("there is space");
    file.write_all(b"kept").expect("there is space");
    file.sync_all().expect("the disk has power");
    drop(file);
    File::open(disk.path())
        .and_then(|it| it.sync_all())
        .expect("the disk has power");
    std::fs::write(&unsynced, b"gone").expect("there is space");
    // Whoever makes a mount namespace of its own keeps what is mounted, for as long as it lives.
    let mut keeper = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sleep", "60"])
        .spawn()
        .expect("root may do that");
    let namespace = format!("/proc/{}/ns/mnt", keeper.id());
    let own = std::fs::read_link("/proc/self/ns/mnt").expect("a link");
    wait_until("the keeper is apart", || {
        std::fs::read_link(&namespace).is_ok_and(|it| it != own)
    });

    disk.cut_power();
    assert!(std::fs::write(&synced, b"lost").is_err());
    disk.restore_power();
    keeper.kill().and_then(|()| keeper.wait()).expect("it ran");
    assert_eq!(std::fs::read(&synced).expect("it was synced"), b"kept");
    assert_ne!(std::fs::read(&unsynced).unwrap_or_default(), b"gone");
    std::fs::write(&synced, b"new").expect("it has power");
    Ok(())
}

fn a_read_only_directory_refuses_root() -> Outcome {
    let scratch = Scratch::new();
    let file = scratch.path().join("file");
    let read_only = ReadOnly::mount(scratch.path())?;
    let error = std::fs::write(&file, "").expect_err("read-only");
    assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
    drop(read_only);
    std::fs::write(&file, "").expect("writable again");
    Ok(())
}

fn a_dropped_network_leaves_nothing() -> Outcome {
    let network = Network::new()?;
    let host = network.host("one");
    let home = host.home().to_owned();
    let mut sleeping = host
        .command("sleep")
        .arg("600")
        .spawn()
        .expect("root may run it");
    let reached = poll_until(manada_testbed::PATIENCE, || !host.process_ids().is_empty());
    assert!(reached, "the command never got to the host");
    drop(network);
    assert!(sleeping.wait().is_ok_and(|status| !status.success()));
    assert!(!home.exists(), "{} is left", home.display());
    let entered = host
        .command("true")
        .current_dir("/")
        .output()
        .expect("ip runs");
    assert!(!entered.status.success(), "the namespace is left");
    Ok(())
}

fn listen(host: &Host) -> TcpListener {
    host.inside(|| TcpListener::bind("0.0.0.0:0").expect("a port is free"))
}

/// Both ends of a connection from one host to another.
fn connection(from: &Host, to: &Host) -> (TcpStream, TcpStream) {
    let listener = listen(to);
    let port = listener.local_addr().expect("it listens").port();
    let here = from.connect(to.address(), port).expect("it is reached");
    let (there, _) = listener.accept().expect("it has connected");
    (here, there)
}

fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(SOON)).expect("a bound");
    let outcome = stream.read(&mut [0; 1]);
    match outcome {
        Err(error) if error.kind() == ErrorKind::WouldBlock => true,
        other => panic!("{other:?}"),
    }
}

fn byte(stream: &mut TcpStream) -> u8 {
    let mut byte = [0];
    stream
        .set_read_timeout(Some(manada_testbed::PATIENCE))
        .expect("a bound");
    stream.read_exact(&mut byte).expect("it arrives");
    byte[0]
}

fn said(mut command: impl std::borrow::BorrowMut<Command>) -> String {
    let output = command.borrow_mut().output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
