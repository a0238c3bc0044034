use super::*;

async fn of_user(cluster: &Cluster, user: &str) -> Client {
    let mut client = cluster.connect().await;
    client.handshake(user, "").await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_begin_with_the_settings_of_their_user() {
    let cluster = Cluster::start().await;
    let admin = &mut cluster.connect().await;
    let threads = "SELECT value FROM system.settings WHERE name = 'max_threads'";
    let usual = lines(admin, threads).await;
    update(admin, "ALTER USER ann SETTINGS data_type_default_nullable = 1, MAX_THREADS = 3").await;
    let kept = "SELECT user || ' ' || name || ' ' || value FROM system.user_settings ORDER BY name";
    assert_eq!(lines(admin, kept).await, ["ann data_type_default_nullable 1", "ann max_threads 3"]);
    // Only hers, and whatever the client presents her name with.
    let ann = &mut of_user(&cluster, "ann").await;
    let ben = &mut of_user(&cluster, "ben").await;
    for (client, table, nulls) in [(&mut *ann, "of_ann", true), (&mut *ben, "of_ben", false)] {
        update(client, &format!("CREATE TABLE {table} (k Int64, v Int64) ORDER BY k")).await;
        let insert = format!("INSERT INTO {table} VALUES (1, NULL)");
        match nulls {
            true => update(client, &insert).await,
            false => {
                assert_eq!(refused(client, &insert).await.code(), Code::InvalidArgument);
                0
            }
        };
    }
    assert_eq!(lines(ann, threads).await, ["3"]);
    assert_eq!(lines(ben, threads).await, usual);
    // A session's own value counts more, and its end gives the user's back.
    update(ann, "SET max_threads = 2").await;
    assert_eq!(lines(ann, threads).await, ["2"]);
    update(ann, "SET max_threads = DEFAULT").await;
    assert_eq!(lines(ann, threads).await, ["3"]);
    // Sessions that had begun go on as they were; others begin with what there is now.
    update(admin, "ALTER USER ann DROP SETTINGS max_threads").await;
    assert_eq!(lines(ann, threads).await, ["3"]);
    let later = &mut of_user(&cluster, "ann").await;
    assert_eq!(lines(later, threads).await, usual);
    update(later, "SET max_threads = DEFAULT").await;
    assert_eq!(lines(later, threads).await, usual);
    assert_eq!(lines(admin, kept).await, ["ann data_type_default_nullable 1"]);
    update(admin, "ALTER USER ann DROP ALL SETTINGS").await;
    assert!(lines(admin, kept).await.is_empty());
    // Those who give no name are a user, too.
    update(admin, "ALTER USER default MODIFY SETTINGS max_threads = 5").await;
    assert_eq!(lines(&mut cluster.connect().await, threads).await, ["5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_users_are_checked() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    for (sql, code) in [
        ("ALTER USER ann SETTINGS no_such_setting = 1", Code::InvalidArgument),
        ("ALTER USER ann SETTINGS max_threads = 'many'", Code::InvalidArgument),
        (
            "ALTER USER ann SETTINGS max_threads = 1, insert_deduplication_token = 'x'",
            Code::InvalidArgument,
        ),
        ("ALTER USER ann DROP SETTINGS no_such_setting", Code::InvalidArgument),
        ("ALTER USER ann IDENTIFIED BY 'secret'", Code::Unimplemented),
    ] {
        assert_eq!(refused(client, sql).await.code(), code, "{sql}");
    }
    assert!(lines(client, "SELECT user FROM system.user_settings").await.is_empty());
}
