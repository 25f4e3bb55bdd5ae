//! The scripts for init systems other than systemd.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group};

use super::patience::until;
use super::{Gateway, STREAMS, assert_done, signal, streams, text};

/// As whom the tests run.
fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    text(&output.stdout).trim().to_owned()
}

/// A folder of the programs of `BusyBox` that the script needs, and no others.
fn applets(gateway: &Gateway) -> PathBuf {
    let applets = gateway.folder.join("applets");
    fs::create_dir(&applets).unwrap();
    for name in [
        "cat",
        "chown",
        "cut",
        "date",
        "mkdir",
        "mv",
        "rm",
        "rmdir",
        "sed",
        "sh",
        "sleep",
        "start-stop-daemon",
        "touch",
        "wc",
    ] {
        symlink("/bin/busybox", applets.join(name)).unwrap();
    }
    applets
}

/// Runs the recipe's line of root's cron.
fn rotate_by_recipe(gateway: &Gateway, script: &Path, applets: &Path) {
    let recipe = gateway.recipe("A file a day, by BusyBox");
    let entry = recipe.lines().find(|line| !line.starts_with('#')).unwrap();
    let reload = format!("/bin/busybox sh {}", script.display());
    let line = entry.strip_prefix("0 0 * * * ").unwrap();
    let line = line.replace("/etc/init.d/S80octave-ws", &reload);
    let mut rotate = gateway.command("/bin/busybox");
    rotate.args(["sh", "-c", &line]).env("PATH", applets);
    assert_done(&rotate.output().unwrap());
    let is_of_day = |file: &PathBuf| {
        let name = file.file_name().unwrap().to_str().unwrap();
        name.strip_prefix("events.")
            .and_then(|rest| rest.strip_suffix(".jsonl"))
            .is_some_and(|day| day.parse::<u8>().is_ok())
    };
    assert_eq!(
        gateway
            .files()
            .iter()
            .filter(|file| is_of_day(file))
            .count(),
        1
    );
}

#[test]
#[ignore = "it is run with the programs of others"]
fn a_service_by_busybox() {
    let gateway = Gateway::new("busybox", 20.0, &streams());
    let applets = applets(&gateway);
    let folder = gateway.folder.to_str().unwrap();
    // It is replaced while it runs.
    let program = gateway.folder.join("program");
    let install = || {
        let _ = fs::remove_file(&program);
        let mut copy = Command::new("cp");
        let copy = copy.arg(env!("CARGO_BIN_EXE_octave-ws")).arg(&program);
        assert!(copy.status().unwrap().success());
    };
    install();
    let script = gateway.packaged("busybox/S80octave-ws");
    let script = script
        .replace(env!("CARGO_BIN_EXE_octave-ws"), program.to_str().unwrap())
        .replace("PAUSE=60", "PAUSE=1")
        .replace("LOG_SIZE=1000000", "LOG_SIZE=100")
        .replace("RUN_AS=octave-ws", &format!("RUN_AS={}", user()))
        .replace("/var/log", folder)
        .replace("/var/run", folder)
        .replace("/bin/sh", applets.join("sh").to_str().unwrap());
    let path = gateway.folder.join("S80octave-ws");
    fs::write(&path, script).unwrap();
    let run = |what: &str| -> Output {
        let mut command = gateway.command("/bin/busybox");
        command.arg("sh").arg(&path).arg(what).env("PATH", &applets);
        command.output().unwrap()
    };

    assert_eq!(run("status").status.code(), Some(3));
    assert_done(&run("stop"));
    // What was left by one whose number another process has by now.
    let stale = format!("{} 1\n", std::process::id());
    fs::write(gateway.folder.join("octave-ws.pid"), stale).unwrap();
    assert_eq!(run("status").status.code(), Some(3));
    assert_done(&run("start"));
    gateway.await_subscriptions(STREAMS.len());
    assert_done(&run("status"));
    // There is one of it.
    assert_eq!(text(&run("start").stdout), "octave-ws is running\n");
    let events = gateway.folder.join("var/lib/octave-ws/events.jsonl");
    rotate_by_recipe(&gateway, &path, &applets);
    until("there is another file", || events.exists());
    assert_done(&run("restart"));
    gateway.await_subscriptions(STREAMS.len());
    install();
    assert_done(&run("status"));
    assert_eq!(text(&run("start").stdout), "octave-ws is running\n");
    // What dies is started again.
    let deleted = format!("{} (deleted)", program.display());
    let is_old = |process: &fs::DirEntry| {
        let exe = fs::read_link(process.path().join("exe"));
        exe.is_ok_and(|exe| exe.as_os_str() == deleted.as_str())
    };
    let processes = || fs::read_dir("/proc").unwrap().map(Result::unwrap);
    let [old] = processes()
        .filter(is_old)
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    let old: i32 = old.file_name().to_str().unwrap().parse().unwrap();
    let old = Pid::from_raw(old).unwrap();
    kill_process(old, Signal::KILL).unwrap();
    gateway.await_subscriptions(STREAMS.len());
    assert!(gateway.folder.join("octave-ws.log.1").exists());
    let is_new = |process: &fs::DirEntry| {
        fs::read_link(process.path().join("exe")).is_ok_and(|exe| exe == program)
    };
    until("it is noted", || {
        let noted = fs::read_to_string(gateway.folder.join("octave-ws.pid.program"));
        let of_new = |process: fs::DirEntry| process.file_name().into_string().unwrap() + " ";
        let new: Vec<String> = processes().filter(is_new).map(of_new).collect();
        new.iter()
            .any(|new| noted.as_ref().unwrap().starts_with(new))
    });
    // Without what supervised it, it is replaced, and there is one of it.
    let noted = fs::read_to_string(gateway.folder.join("octave-ws.pid")).unwrap();
    let supervisor = noted.split(' ').next().unwrap().parse().unwrap();
    let supervisor = Pid::from_raw(supervisor).unwrap();
    let group = getpgid(Some(supervisor)).unwrap();
    kill_process(supervisor, Signal::KILL).unwrap();
    until("it is dead", || run("status").status.code() == Some(3));
    assert_done(&run("start"));
    gateway.await_subscriptions(STREAMS.len());
    assert_eq!(processes().filter(is_new).count(), 1);
    assert_done(&run("stop"));
    assert_eq!(processes().filter(is_new).count(), 0);
    // It would look after the log for another hour.
    kill_process_group(group, Signal::KILL).unwrap();
    assert_eq!(run("status").status.code(), Some(3));
    let lines = fs::read_to_string(&events).unwrap();
    let last = lines.lines().last().unwrap();
    assert!(last.contains(r#""kind":"summary""#), "{last}");
    assert_eq!(run("nonsense").status.code(), Some(64));
    let log = fs::read_to_string(gateway.folder.join("octave-ws.log")).unwrap();
    assert!(log.contains("subscribed to "), "{log}");
}

#[test]
#[ignore = "it is run with the programs of others"]
fn a_service_by_the_init_of_busybox() {
    let gateway = Gateway::new("busybox-init", 20.0, &streams());
    let (applets, folder) = (applets(&gateway), gateway.folder.to_str().unwrap());
    // By another name than those of other tests.
    let program = gateway.folder.join("program");
    fs::copy(env!("CARGO_BIN_EXE_octave-ws"), &program).unwrap();
    let script = gateway.folder.join("S80octave-ws");
    let packaged = "packaging/busybox/S80octave-ws";
    fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join(packaged),
        &script,
    )
    .unwrap();
    let etc = gateway.folder.join("etc");
    for name in ["passwd", "group"] {
        fs::copy(Path::new("/etc").join(name), etc.join(name)).unwrap();
    }
    let settings = format!(
        "PATH={} PROGRAM={} RUN_AS={} CONFIG=/etc/octave-ws/config.json PAUSE=1\n\
         OUTPUT={folder}/events.jsonl LOG={folder}/log PID_FILE={folder}/pid\n",
        applets.display(),
        program.display(),
        user(),
    );
    fs::create_dir(etc.join("default")).unwrap();
    fs::write(etc.join("default/octave-ws"), settings).unwrap();
    let script = script.display();
    let inittab = format!("::sysinit:{script} start\n::shutdown:{script} stop\n");
    fs::write(etc.join("inittab"), inittab).unwrap();

    // Its end is that of its namespace only, which does not outlive the test.
    let mut boot = Command::new("setpriv");
    boot.args(["--pdeathsig", "KILL", "unshare", "--kill-child"]);
    if user() != "root" {
        boot.arg("--map-root-user");
    }
    boot.args(["--pid", "--fork", "--mount", "--mount-proc", "sh", "-c"])
        .arg(r#"mount --bind "$0" /etc && exec /bin/busybox init"#)
        .arg(&etc);
    let mut unshare = boot
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    gateway.await_subscriptions(STREAMS.len());
    let running = || {
        let processes = fs::read_dir("/proc").unwrap().map(Result::unwrap);
        let is_program = |process: &fs::DirEntry| {
            fs::read_link(process.path().join("exe")).is_ok_and(|exe| exe == program)
        };
        let name = processes
            .filter(is_program)
            .map(|process| process.file_name());
        name.map(|name| name.to_str().unwrap().parse().unwrap())
            .collect::<Vec<i32>>()
    };
    let send = |pid: i32, signal| {
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    };
    // What dies is started again.
    let [first] = running().try_into().unwrap();
    send(first, Signal::KILL);
    gateway.await_subscriptions(STREAMS.len());
    let [second] = running().try_into().unwrap();
    assert_ne!(first, second);
    let children = format!("/proc/{0}/task/{0}/children", unshare.id());
    let init = fs::read_to_string(children).unwrap();
    // It powers off.
    send(init.trim().parse().unwrap(), Signal::USR2);
    until("it is off", || unshare.try_wait().unwrap().is_some());
    assert!(running().is_empty());
    let events = fs::read_to_string(gateway.folder.join("events.jsonl")).unwrap();
    let last = events.lines().last().unwrap();
    assert!(last.contains(r#""kind":"summary""#), "{last}");
    let log = fs::read_to_string(gateway.folder.join("log")).unwrap();
    assert!(log.contains("ended with 137, next start in 1 s"), "{log}");
}

/// What of rc.common and its functions the script uses.
const RC_COMMON: &str = r#"
config_load() { :; }
config_foreach() { "$1" main; "$1" other; }
config_get() {
    case $2:$3 in
    other:config) eval "$1=/etc/octave-ws/other.json" ;;
    *) eval "$1=\$4" ;;
    esac
}
config_get_bool() { config_get "$@"; [ "$2" = main ] && eval "$1=1"; return 0; }
procd_open_instance() { echo "instance $1"; }
procd_close_instance() { :; }
procd_set_param() { echo "$*"; }
procd_send_signal() { echo "send $*"; }
procd_add_config_trigger() { echo "trigger $*"; }
chown() { echo "chown $*"; }
"#;

#[test]
#[ignore = "it is run with the programs of others"]
fn a_service_by_procd() {
    let gateway = Gateway::new("procd", 20.0, &streams());
    let init = gateway.packaged("openwrt/files/octave-ws.init");
    let folder = gateway.folder.to_str().unwrap();
    let of_its_own = init.replace("/tmp/octave-ws", &format!("{folder}/tmp/octave-ws"));
    // The second start finds a folder that is there.
    let script = format!(
        "{RC_COMMON}\n{of_its_own}\nstart_service\necho again\nstart_service\nreload_service\n\
         service_triggers\n"
    );
    let path = gateway.folder.join("octave-ws.init");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let output = gateway
        .command("/bin/busybox")
        .arg("sh")
        .arg(&path)
        .output()
        .unwrap();
    assert_done(&output);
    assert_eq!(text(&output.stderr), "");
    // The other one is not enabled.
    let told = text(&output.stdout);
    let (first, again) = told.split_once("again\n").unwrap();
    assert_eq!(first.matches("instance ").count(), 1, "{told}");
    let made = format!("chown octave-ws {folder}/tmp/octave-ws\n");
    assert!(first.contains(&made) && !again.contains("chown"), "{told}");
    let ends = "send octave-ws * HUP\n\
        trigger config.change octave-ws /etc/init.d/octave-ws restart\n";
    assert!(again.ends_with(ends), "{told}");
    let command = told.lines().find_map(|line| line.strip_prefix("command "));
    let child = gateway
        .shell(&format!("exec {}", command.unwrap()))
        .spawn()
        .unwrap();
    gateway.await_subscriptions(STREAMS.len());
    signal(&child, Signal::TERM);
    assert_done(&child.wait_with_output().unwrap());
    let events = fs::read_to_string(gateway.folder.join("tmp/octave-ws/events.jsonl")).unwrap();
    assert!(events.contains(r#""kind":"summary""#), "{events}");

    // A folder of another name may be that of a disk which is not there yet.
    let elsewhere = init.replace("/tmp/octave-ws", &format!("{folder}/disk"));
    fs::write(&path, format!("{RC_COMMON}\n{elsewhere}\nstart_service\n")).unwrap();
    let output = gateway
        .command("/bin/busybox")
        .arg("sh")
        .arg(&path)
        .output();
    let output = output.unwrap();
    assert_done(&output);
    let told = text(&output.stdout);
    assert!(
        told.contains("instance ") && !told.contains("chown"),
        "{told}"
    );
    assert!(!gateway.folder.join("disk").exists());
}

#[test]
#[ignore = "it is run with the programs of others"]
fn a_package_of_openwrt() {
    let gateway = Gateway::new("openwrt", 0.0, &[]);
    // What of the SDK the Makefile uses.
    let sdk = gateway.folder.join("sdk");
    fs::create_dir(&sdk).unwrap();
    let rules =
        "INSTALL_DIR:=install -d\nINSTALL_BIN:=install -m 755\nINSTALL_CONF:=install -m 600\n";
    fs::write(sdk.join("rules.mk"), rules).unwrap();
    let package = "define BuildPackage\nroot:\n\t$$(call Build/Compile)\n\
        \t$$(call Package/$(1)/install,$$(ROOT))\nendef\n";
    fs::write(sdk.join("package.mk"), package).unwrap();
    let root = gateway.folder.join("root");
    let mut make = gateway.command("make");
    make.arg("-C")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/openwrt"))
        .arg("root")
        .arg(format!("TOPDIR={}", sdk.display()))
        .arg(format!("INCLUDE_DIR={}", sdk.display()))
        .arg(format!("ROOT={}", root.display()))
        .arg(format!("OCTAVE_WS={}", env!("CARGO_BIN_EXE_octave-ws")));
    assert_done(&make.output().unwrap());
    for (path, mode) in [
        ("usr/bin/octave-ws", 0o755),
        ("etc/init.d/octave-ws", 0o755),
        ("etc/config/octave-ws", 0o600),
    ] {
        let metadata = fs::metadata(root.join(path)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{path}");
    }
    assert!(root.join("etc/octave-ws").is_dir());
}
