//! What people see at a terminal: the shell with its history and statements of several lines, and the
//! bar of a load.

use granary_testkit::{Mode, TestCluster, TestResult};

use super::terminal::Terminal;
use super::text;

const UP: &str = "\x1b[A";

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_edits_several_lines_and_remembers_them() -> TestResult {
    let cluster = TestCluster::start(Mode::Embedded).await?;
    let url = cluster.url(0)?;
    let folder = tempfile::tempdir()?;
    let history = text(&folder.path().join("state/history"))?;
    let variables = [("GRANARY_HISTORY", history.as_str())];
    let mut shell = Terminal::start(&["sql", "--url", &url], &variables)?;
    shell.wait_for("Connected to", 1)?;
    shell.wait_for("granary> ", 1)?;
    // The line ends, and the statement does not.
    shell.press("SELECT 40 +\r")?;
    shell.wait_for("      -> ", 1)?;
    assert!(!shell.shown().contains("row in"), "{:?}", shell.shown());
    shell.press("2 AS answer;\r")?;
    shell.wait_for("|     42 |", 1)?;
    shell.wait_for("1 row in", 1)?;
    // A wrong statement is no reason to leave.
    shell.press("SELECT nope;\r")?;
    shell.wait_for("error[INVALID_INPUT]", 1)?;
    // Nor is one that takes too long.
    let endless = "SELECT count(*) FROM numbers(10000000) AS a CROSS JOIN numbers(10000000) AS b \
                   WHERE a.number + b.number = -1;\r";
    shell.press(endless)?;
    let running = "SELECT count(*) FROM system.queries WHERE state = 'running' \
                   AND query LIKE '%CROSS JOIN numbers(10000000)%= -1'";
    crate::wait_for(&mut cluster.client(0).await?, running, "1").await?;
    shell.press("\x03")?;
    shell.wait_for("error[CANCELLED]: interrupted", 1)?;
    shell.press("\\format csv\r")?;
    // Before the wrong one there was one of two lines, which comes back as a whole.
    shell.press(&format!("{UP}{UP}{UP}{UP}"))?;
    shell.press("\r")?;
    shell.wait_for("answer\r\n42\r\n", 1)?;
    shell.press("\\q\r")?;
    assert_eq!(shell.wait_exit()?, Some(0));
    drop(shell);

    // The next shell knows what was typed in the last one.
    let kept = std::fs::read_to_string(&history)?;
    assert!(kept.contains("SELECT 40 +") && kept.contains("2 AS answer;"), "{kept:?}");
    let mut shell = Terminal::start(&["sql", "--url", &url, "--format", "csv"], &variables)?;
    shell.wait_for("granary> ", 1)?;
    shell.press(&format!("{UP}{UP}"))?;
    shell.press("\r")?;
    shell.wait_for("answer\r\n42\r\n", 1)?;
    shell.press("exit\r")?;
    assert_eq!(shell.wait_exit()?, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_goes_on_with_another_coordinator() -> TestResult {
    let mut cluster = TestCluster::start(Mode::Cluster).await?;
    let urls = cluster.cluster.urls();
    let folder = tempfile::tempdir()?;
    let variables = [("GRANARY_HISTORY", text(&folder.path().join("history"))?)];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let both = urls.join(",");
    let mut shell = Terminal::start(&["sql", "--url", &both, "--format", "csv"], &variables)?;
    shell.wait_for(&format!("Connected to {}", urls[0]), 1)?;
    shell.wait_for("granary> ", 1)?;
    cluster.cluster.coordinators[0].kill()?;
    shell.press("SELECT 41 AS lost;\r")?;
    shell.wait_for(" the coordinator", 1)?;
    shell.wait_for(&format!("note: connected to {}", urls[1]), 1)?;
    shell.press("SELECT 40 + 2 AS answer;\r")?;
    shell.wait_for("answer\r\n42\r\n", 1)?;
    shell.press("\\q\r")?;
    assert_eq!(shell.wait_exit()?, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_shows_a_bar() -> TestResult {
    let cluster = TestCluster::start(Mode::Embedded).await?;
    let (mut client, url) = (cluster.client(0).await?, cluster.url(0)?);
    client.update("CREATE TABLE t (id Int64, name String) ENGINE = MergeTree ORDER BY id").await?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("rows.csv");
    let rows = (0..2_000_000).map(|id| format!("{id},this is row number {id}\n"));
    std::fs::write(&path, std::iter::once("id,name\n".to_owned()).chain(rows).collect::<String>())?;
    let mut load = Terminal::start(&["load", "--url", &url, "t", &text(&path)?], &[])?;
    assert_eq!(load.wait_exit()?, Some(0), "{}", load.shown());
    let shown = load.shown();
    // Drawn again and again in its place: bytes of all bytes, rows and rows in a second.
    let drawn: Vec<&str> = shown.split('\r').filter(|line| line.contains("rows/s")).collect();
    let bar = drawn.iter().find(|line| line.contains("[==")).ok_or_else(|| shown.clone())?;
    for words in ["t  ", "MiB/", " rows  ", " rows/s"] {
        assert!(bar.contains(words), "no {words:?} in {bar:?}");
    }
    assert!(drawn.len() >= 3, "{drawn:?}");
    assert!(shown.contains("100 %      2,000,000 rows"), "{shown:?}");
    assert!(shown.contains("loaded 2000000 rows from 1 file into "), "{shown:?}");
    assert_eq!(client.value("SELECT count(*) FROM t").await?, "2000000");
    Ok(())
}
