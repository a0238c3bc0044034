//! `granary config check`: what would be in force, and where it comes from.

use granary_testkit::TestResult;

use super::{Ran, granary, run, text};

const ROLES: [&str; 4] = ["server", "metadata", "coordinator", "worker"];

fn check(words: &[&str], variables: &[(&str, &str)]) -> TestResult<Ran> {
    let mut command = granary(&[&["config", "check"], words].concat())?;
    Ok(Ran::of(command.envs(variables.iter().copied()).output()?))
}

#[test]
fn the_environment_goes_before_flags_and_flags_before_the_file() -> TestResult {
    let folder = tempfile::tempdir()?;
    let file = text(&folder.path().join("granary.toml"))?;
    let content = "drain_limit_s = 1\nzone = \"of the file\"\nmemory_mib = 101\nthreads = 7\n";
    std::fs::write(&file, content)?;
    let flags = ["--drain-limit-s", "2", "--zone", "of a flag", "--memory-mib", "102"];
    let variables = [("GRANARY_DRAIN_LIMIT_S", "3"), ("GRANARY_ZONE", "of the environment")];
    let words = [&["worker", "--config", &file], &flags[..]].concat();
    let shown = check(&words, &variables)?.done().out;
    for line in [
        "drain_limit_s = 3  # environment",
        "zone = \"of the environment\"  # environment",
        "memory_mib = 102  # flag",
        "threads = 7  # file",
        "scrub_mib_s = 8  # default",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "no {line:?} in {shown}");
    }
    // The environment can name the file, too.
    let shown = check(&["worker"], &[("GRANARY_CONFIG", &file)])?.done().out;
    assert!(shown.contains("drain_limit_s = 1  # file"), "{shown}");
    Ok(())
}

#[test]
fn what_it_prints_is_a_file_that_gives_it_again() -> TestResult {
    let folder = tempfile::tempdir()?;
    let variables = [
        ("GRANARY_DISKS", "{ cold = \"/mnt/cold\", lake = \"s3://lake/parts\" }"),
        (
            "GRANARY_POLICIES",
            "{ tiered = [{ volume = \"hot\", disks = [\"default\"] }, \
             { volume = \"cold\", disks = [\"cold\", \"lake\"] }] }",
        ),
        ("GRANARY_METADATA", "m1:7423,m2:7423,m3:7423"),
        ("GRANARY_NODE_ID", "3"),
        ("GRANARY_KEEP_FREE", "20 GiB"),
        ("GRANARY_KEEP_FREE_OF", "{ cold = \"5%\" }"),
        ("GRANARY_VOLUME", "s3://bucket/prefix"),
        ("GRANARY_GRPC_LISTEN", "0.0.0.0:17420"),
        ("GRANARY_LOG_FORMAT", "json"),
        ("GRANARY_ZONE", "a \"b\" # c"),
    ];
    for role in ROLES {
        for variables in [&[][..], &variables] {
            let first = check(&[role], variables)?.done().out;
            let path = text(&folder.path().join(role))?;
            std::fs::write(&path, &first)?;
            let again = check(&[role, "--config", &path], &[])?.done();
            assert_eq!(again.err, "", "each of them is one of the role");
            let (first, again): (toml::Table, toml::Table) = (first.parse()?, again.out.parse()?);
            assert_eq!(first, again, "{role}");
            assert!(first.contains_key("http_listen"), "{first:?}");
        }
    }
    Ok(())
}

#[test]
fn secrets_are_not_shown() -> TestResult {
    let shown = check(&["coordinator"], &[("GRANARY_SECRET", "swordfish")])?.done().out;
    assert!(shown.contains("# secret is set, and not shown  # environment"), "{shown}");
    assert!(!shown.contains("swordfish"), "{shown}");
    // Else the file would make the word that hides it the secret.
    let parsed: toml::Table = shown.parse()?;
    assert!(!parsed.contains_key("secret"), "{shown}");
    let shown = check(&["coordinator"], &[])?.done().out;
    assert!(shown.contains("# secret is not set"), "{shown}");
    Ok(())
}

#[test]
fn what_is_no_setting_is_refused_by_its_name() -> TestResult {
    let folder = tempfile::tempdir()?;
    let file = text(&folder.path().join("granary.toml"))?;
    for (content, words) in [
        ("grpc_lisen = \"x\"", &["grpc_lisen", "did you mean grpc_listen?"][..]),
        ("drain_limit_s = 30\nquite_different = 1", &["quite_different"]),
        ("drain_limit_s = \"soon\"", &["line 1"]),
        ("drain_limit_s", &["TOML"]),
    ] {
        std::fs::write(&file, content)?;
        check(&["worker", "--config", &file], &[])?.refused(1, &[words, &[&file]].concat());
    }
    std::fs::write(&file, "drain_limit_s = 3601")?;
    check(&["worker", "--config", &file], &[])?.refused(1, &["drain_limit_s is 3601", "3600"]);
    std::fs::remove_file(&file)?;
    check(&["worker", "--config", &file], &[])?.refused(1, &["NOT_FOUND", &file]);
    let variable = [("GRANARY_DATADIR", "x")];
    let words = ["GRANARY_DATADIR", "GRANARY_DATA_DIR"];
    check(&["worker"], &variable)?.refused(1, &words);
    check(&["metadata", "--grpc-listen", "127.0.0.1:1"], &[])?.refused(1, &["--grpc-listen"]);
    check(&["worker", "--no-such-flag"], &[])?.refused(2, &["--no-such-flag"]);
    run(&["config", "check", "nobody"])?.refused(2, &["nobody", "coordinator"]);
    Ok(())
}
