use super::*;

fn resolve(
    role: Role,
    file: &str,
    flags: &[(&str, &str)],
    environment: &[(&str, &str)],
) -> Result<Effective> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("granary.toml");
    std::fs::write(&path, file).expect("written");
    let mut layer = Layer::default();
    for (name, value) in flags {
        layer.set(name, value).expect("a known flag").expect("a good value");
    }
    let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Effective::resolve(role, Some(&path), layer, pairs)
}

#[test]
fn later_layers_win() {
    let file = "drain_limit_s = 1";
    let flag: &[(&str, &str)] = &[("drain_limit_s", "2")];
    let variable: &[(&str, &str)] = &[("GRANARY_DRAIN_LIMIT_S", "3")];
    for (file, flags, environment, expected) in [
        ("", &[][..], &[][..], 30),
        (file, &[], &[], 1),
        (file, flag, &[], 2),
        ("", flag, variable, 3),
        (file, &[], variable, 3),
        (file, flag, variable, 3),
    ] {
        let effective = resolve(Role::Worker, file, flags, environment).expect("good settings");
        assert_eq!(effective.settings.drain_limit_s, expected, "{file} {flags:?} {environment:?}");
    }
}

#[test]
fn bad_settings_are_refused_with_a_hint() {
    for (role, file, environment, complaint) in [
        (Role::Worker, "grpc_lisen = 1", &[][..], "did you mean grpc_listen?"),
        (Role::Worker, "quite_different = 1", &[], "unknown setting \"quite_different\""),
        (Role::Worker, "", &[("GRANARY_DATADIR", "x")], "did you mean GRANARY_DATA_DIR?"),
        (Role::Worker, "", &[("GRANARY_THREADS", "many")], "GRANARY_THREADS: invalid digit"),
        (Role::Worker, "keep_free = \"half\"", &[], "neither a share such as 5%"),
        (Role::Worker, "keep_free_of = { hdd = \"5%\" }", &[], "no folder among the disks"),
        (Role::Worker, "", &[("GRANARY_KEEP_FREE", "95%")], "at most 90%"),
        (Role::Worker, "threads = 0", &[], "must be from 1 to 1024"),
        (Role::Worker, "threads = \"two\"", &[], "line 1, column 11"),
        (Role::Worker, "metadata = \"nowhere\"", &[], "is not host:port"),
        (Role::Metadata, "node_id = 4\nmetadata = [\"a:1\"]", &[], "must be from 1 to 1"),
        (Role::Server, "log_format = \"xml\"", &[], "unknown variant `xml`"),
        (Role::Server, "= 3", &[], "not valid TOML"),
    ] {
        let error = resolve(role, file, &[], environment).expect_err(complaint);
        assert!(error.message().contains(complaint), "{complaint:?} in {:?}", error.message());
    }
}

#[test]
fn flags_of_another_role_are_refused_but_shared_files_are_not() {
    let error = resolve(Role::Metadata, "", &[("grpc_listen", "127.0.0.1:1")], &[]);
    assert!(error.expect_err("a useless flag").message().contains("no use for --grpc-listen"));
    let shared = resolve(Role::Metadata, "grpc_listen = \"127.0.0.1:1\"", &[], &[]);
    assert_eq!(shared.expect("a shared file").remarks.len(), 1);
}

#[test]
fn variables_of_others_are_left_alone() {
    let environment = &[
        ("GRANARY_COORDINATOR_SERVICE_HOST", "10.0.0.1"),
        ("GRANARY_COORDINATOR_PORT", "tcp://10.0.0.1:7420"),
        ("GRANARY_COORDINATOR_PORT_7420_TCP_ADDR", "10.0.0.1"),
        ("PATH", "/bin"),
        ("GRANARY_URL", "http://localhost:7420"),
    ];
    resolve(Role::Coordinator, "", &[], environment).expect("nothing of ours is set");
}

#[test]
fn new_rows_go_to_the_volume_where_no_policy_says_otherwise() {
    let volume = "volume = \"s3://bucket/parts\"\n";
    let other = "policies.default = [{ volume = \"own\", disks = [\"default\"] }]";
    for (file, expected) in [
        (String::new(), &[&["default"][..]][..]),
        (volume.to_owned(), &[&["shared"], &["default"]]),
        (format!("{volume}{other}"), &[&["default"]]),
    ] {
        for role in [Role::Server, Role::Coordinator, Role::Worker] {
            let effective = resolve(role, &file, &[], &[]).expect("good settings");
            assert_eq!(effective.remarks, [""; 0], "{file}");
            let tiers = configured_tiers(&effective.settings).expect("good tiers");
            let policy = tiers.policy("default").expect("always there");
            let disks: Vec<_> = policy.iter().map(|volume| &volume.disks).collect();
            assert_eq!(disks, expected, "{file}");
            assert_eq!(tiers.is_shared("shared"), file.contains("s3://"), "{file}");
        }
    }
}

#[test]
fn the_printed_settings_give_themselves() {
    let file = "metadata = \"a:7423, b:7423\"\nvolume = \"s3://bucket/parts\"\nmemory_mib = 512";
    let printed = resolve(Role::Worker, file, &[("zone", "z1")], &[]).expect("good").to_toml();
    let again = resolve(Role::Worker, &printed, &[], &[]).expect("what was printed is a file");
    assert_eq!(again.settings.metadata.0, ["a:7423", "b:7423"]);
    assert_eq!(again.settings.zone.as_deref(), Some("z1"));
    assert_eq!(again.settings.memory_mib, Some(512));
    assert!(printed.contains("zone = \"z1\"  # flag"), "{printed}");
    assert!(!printed.contains("raft_listen"), "not a worker's: {printed}");
}
