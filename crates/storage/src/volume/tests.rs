use futures::TryStreamExt;
use granary_common::ErrorKind;
use object_store::{MultipartUpload, ObjectStoreExt, PutMode, PutOptions};

use super::*;

async fn listed(store: &LocalStore) -> Vec<String> {
    let objects: Vec<_> = store.list(None).try_collect().await.unwrap();
    let mut names: Vec<_> = objects.iter().map(|object| object.location.to_string()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_folder_is_an_object_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let path = Path::from("parts/1/2/data");
    store.put(&path, "one".into()).await.unwrap();
    store.put(&path, "two".into()).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "two");
    assert_eq!(store.get_range(&path, 1..2).await.unwrap(), "w");

    let create = PutOptions { mode: PutMode::Create, ..Default::default() };
    let error = store.put_opts(&path, "three".into(), create).await.unwrap_err();
    assert!(matches!(error, object_store::Error::AlreadyExists { .. }), "{error}");

    let other = Path::from("parts/1/3/data");
    store.copy(&path, &other).await.unwrap();
    store.rename(&other, &Path::from("parts/4")).await.unwrap();
    assert_eq!(listed(&store).await, ["parts/1/2/data", "parts/4"]);

    store.delete(&path).await.unwrap();
    assert!(!folder.path().join("parts/1").exists(), "empty folders go");
    assert!(matches!(store.delete(&path).await, Err(object_store::Error::NotFound { .. })));
    let missing = store.rename(&path, &other).await.unwrap_err();
    assert!(matches!(missing, object_store::Error::NotFound { .. }), "{missing}");
    assert_eq!(listed(&store).await, ["parts/4"]);
}

#[tokio::test]
async fn uploads_appear_when_they_are_complete() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let path = Path::from("big");
    let mut upload = store.put_multipart(&path).await.unwrap();
    let (first, second) = (upload.put_part("hello ".into()), upload.put_part("world".into()));
    second.await.unwrap();
    first.await.unwrap();
    assert_eq!(listed(&store).await, [] as [&str; 0]);
    upload.complete().await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "hello world");

    let mut abandoned = store.put_multipart(&path).await.unwrap();
    abandoned.put_part("half".into()).await.unwrap();
    drop(abandoned);
    let shared = LocalStore::open(folder.path()).unwrap();
    shared.put(&Path::from("small"), "x".into()).await.unwrap();
    let left = std::fs::read_dir(folder.path().join(".tmp")).unwrap().count();
    assert_eq!(left, 0, "who gives up cleans up");
    let killed = folder.path().join(".tmp").join("left-by-a-killed-process");
    std::fs::write(&killed, "half").unwrap();
    drop(LocalStore::open(folder.path()).unwrap());
    assert!(killed.exists(), "another process may still be writing");
    let again = LocalStore::open_owned(folder.path()).unwrap();
    assert_eq!(listed(&again).await, ["big", "small"]);
    let left = std::fs::read_dir(folder.path().join(".tmp")).unwrap().count();
    assert_eq!(left, 0, "the owner cleans up");
}

#[test]
fn locations_are_paths_and_urls() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/volume");
    let kind = VolumeKind::Shared;
    let plain = Volume::open("v", kind.clone(), path.to_str().unwrap()).unwrap();
    assert!(plain.local_file(&plain.path("parts/1")).unwrap().ends_with("volume/parts/1"));
    let url = format!("file://{}", path.display());
    assert!(Volume::open("v", kind.clone(), &url).unwrap().local_file(&Path::from("x")).is_some());
    let memory = Volume::open("v", kind.clone(), "memory://").unwrap();
    assert!(memory.local_file(&Path::from("x")).is_none());
    let bucket = Volume::open("v", kind.clone(), "s3://bucket/below/here").unwrap();
    assert_eq!(bucket.path("parts/1").as_ref(), "below/here/parts/1");
    for wrong in ["nowhere://x", "s3://", "http//:x://"] {
        let error = Volume::open("v", kind.clone(), wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong}: {error}");
    }
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = Volume::open("v", kind, file.to_str().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}

/// The store that a URL names, as it describes itself, and the prefix.
fn remote(url: &str, variables: &[(&str, &str)]) -> Result<(String, String)> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let (store, prefix) = remote_store(&Url::parse(url).unwrap(), variables)?;
    Ok((store.to_string(), prefix.to_string()))
}

#[test]
fn urls_name_the_stores_of_each_cloud() {
    let region = ("AWS_REGION", "eu-west-1");
    let account = ("AZURE_STORAGE_ACCOUNT_NAME", "acme");
    for (url, variables, names, prefix) in [
        ("s3://lake/a/b", &[region][..], &["S3", "lake"][..], "a/b"),
        ("s3a://lake", &[region], &["S3", "lake"], ""),
        ("gs://lake/a/b", &[], &["Google", "lake"], "a/b"),
        ("gs://lake/", &[], &["Google", "lake"], ""),
        ("az://lake/a/b", &[account], &["Azure", "lake", "acme"], "a/b"),
        ("abfss://lake@acme.dfs.core.windows.net/a", &[], &["Azure", "lake", "acme"], "a"),
        ("https://acme.blob.core.windows.net/lake/a", &[], &["Azure", "lake", "acme"], "a"),
        ("https://host.example/a/b", &[], &["Http"], "a/b"),
    ] {
        let (store, found) = remote(url, variables).unwrap();
        for name in names {
            assert!(store.contains(name), "{url}: no {name} in {store}");
        }
        assert_eq!(found, prefix, "{url}");
    }
    // Azure's containers belong to an account, which the URL does not name.
    let error = remote("az://lake/a", &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.message().to_lowercase().contains("account"), "{error}");
}

#[test]
fn a_full_disk_is_told_apart() {
    let full = io::Error::from(io::ErrorKind::StorageFull);
    let error = object_store::Error::Generic { store: "LocalStore", source: Box::new(full) };
    assert_eq!(store_error(&error).kind(), ErrorKind::ResourceExhausted);
}

#[test]
fn parts_are_found_by_their_location() {
    let open = |name: &str, kind| Arc::new(Volume::open(name, kind, "memory://").unwrap());
    let local = open("local", VolumeKind::Local { worker: WorkerId(3) });
    let shared = open("cloud", VolumeKind::Shared);
    let volumes = Volumes::new([Arc::clone(&local), Arc::clone(&shared)]);
    for volume in [&local, &shared] {
        let found = volumes.holding(&volume.part_location()).unwrap();
        assert_eq!(found.name, volume.name);
    }
    assert!(
        volumes.holding(&PartLocation::Local { copies: vec![WorkerId(4)], disk: None }).is_none()
    );
    assert!(volumes.holding(&PartLocation::Shared { volume: "x".into() }).is_none());
}
