use std::os::unix::fs::PermissionsExt;

use super::*;

fn record(key: u64, spent: u64) -> Record {
    Record { meter: 1, key, saved: Saved { spent, pending: 0, at: 5 } }
}

/// What is found of meter 1: keys with what they spent, in order.
fn spent(found: &Found) -> Vec<(u64, u64)> {
    let mut spent: Vec<_> = found.get(&1).into_iter().flatten().map(|(key, saved)| (*key, saved.spent)).collect();
    spent.sort_unstable();
    spent
}

fn open(path: &Path) -> (Folder, Found) {
    Folder::open(path).unwrap()
}

/// The names in the folder, without the lock.
fn names(path: &Path) -> Vec<String> {
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != LOCK).collect();
    names.sort_unstable();
    names
}

/// A copy of the files as they are at this moment: what is left when the process is killed.
fn killed(path: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in names(path) {
        fs::copy(path.join(&name), copy.path().join(&name)).unwrap();
    }
    copy
}

#[test]
fn what_is_appended_and_what_is_saved_is_found_again_under_the_same_seed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let (mut folder, found) = open(&path);
    assert!(found.is_empty());
    let seed = *folder.seed().bytes();
    folder.append([record(1, 10), record(2, 20), record(1, 11)].into_iter()).unwrap();
    drop(folder);
    let (mut folder, found) = open(&path);
    assert_eq!((folder.seed().bytes(), spent(&found)), (&seed, vec![(1, 11), (2, 20)]));
    folder.rotate().unwrap();
    folder.save(&[record(1, 12), record(3, 30)]).unwrap();
    folder.append([record(3, 31)].into_iter()).unwrap();
    drop(folder);
    let (folder, found) = open(&path);
    assert_eq!((folder.seed().bytes(), spent(&found)), (&seed, vec![(1, 12), (3, 31)]));
    let mode = |name: &str| fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
    assert!(names(&path).iter().all(|name| mode(name) == 0o600), "the seed is a secret");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_kill_at_any_step_of_a_save_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let (mut folder, _) = open(path);
    folder.append([record(1, 10), record(2, 20)].into_iter()).unwrap();
    let before = killed(path);
    folder.rotate().unwrap();
    let rotated = killed(path);
    folder.append([record(2, 21)].into_iter()).unwrap();
    let appended = killed(path);
    fs::write(path.join(NEW), "half a state").unwrap();
    let half = killed(path);
    folder.save(&[record(1, 10), record(2, 21)]).unwrap();
    let saved = killed(path);
    let found = |copy: &tempfile::TempDir| spent(&open(copy.path()).1);
    for copy in [&before, &rotated] {
        assert_eq!(found(copy), [(1, 10), (2, 20)]);
    }
    for copy in [&appended, &half, &saved] {
        assert_eq!(found(copy), [(1, 10), (2, 21)]);
    }
    assert!(!half.path().join(NEW).exists());
    assert_eq!(names(path), ["limits.journal.1", "limits.state"], "older journals are gone");
}

#[test]
fn a_journal_of_before_the_state_is_not_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let (mut folder, _) = open(directory.path());
    folder.append([record(1, 99)].into_iter()).unwrap();
    let old = killed(directory.path());
    folder.rotate().unwrap();
    folder.save(&[record(1, 100)]).unwrap();
    drop(folder);
    // As when the process is killed between the new state and the end of the old journal.
    fs::copy(old.path().join("limits.journal.0"), directory.path().join("limits.journal.0")).unwrap();
    assert_eq!(spent(&open(directory.path()).1), [(1, 100)]);
    assert!(!directory.path().join("limits.journal.0").exists());
}

#[test]
fn a_journal_that_ends_in_the_middle_is_read_up_to_there() {
    let directory = tempfile::tempdir().unwrap();
    let (mut folder, _) = open(directory.path());
    folder.append([record(1, 10), record(2, 20)].into_iter()).unwrap();
    drop(folder);
    let journal = directory.path().join("limits.journal.0");
    let bytes = fs::read(&journal).unwrap();
    fs::write(&journal, &bytes[..bytes.len() - 7]).unwrap();
    let (mut folder, found) = open(directory.path());
    assert_eq!(spent(&found), [(1, 10)]);
    folder.append([record(2, 22)].into_iter()).unwrap();
    drop(folder);
    assert_eq!(spent(&open(directory.path()).1), [(1, 10), (2, 22)], "what comes later has a journal of its own");
}

#[test]
fn a_journal_that_is_damaged_is_kept_and_told_of_and_what_stands_behind_the_damage_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let (mut folder, _) = open(directory.path());
    folder.append([record(1, 10), record(2, 20), record(3, 30), record(1, 11)].into_iter()).unwrap();
    drop(folder);
    let journal = directory.path().join("limits.journal.0");
    let mut bytes = fs::read(&journal).unwrap();
    let head = bytes.len() - 4 * 48;
    bytes[head + 48 + 20] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let (mut folder, found) = open(directory.path());
    assert_eq!(spent(&found), [(1, 11), (3, 30)]);
    let [told] = folder.refused() else { panic!("{:?}", folder.refused()) };
    assert!(told.contains("limits.journal.0 is damaged: 48 bytes of it cannot be read"), "{told}");
    assert!(journal.exists(), "it counts until there is a state");
    folder.rotate().unwrap();
    folder.save(&[record(1, 11), record(3, 30)]).unwrap();
    assert!(!journal.exists());
    let kept = names(directory.path()).into_iter().find(|name| name.starts_with("limits.journal.0.refused-"));
    assert_eq!(fs::read(directory.path().join(kept.unwrap())).unwrap(), bytes);
}

#[test]
fn a_damaged_or_foreign_state_is_kept_aside_with_its_journals_and_another_begins() {
    for damage in [&b"{\"tokens\": 5}"[..], &[][..], &[0; 200][..]] {
        let directory = tempfile::tempdir().unwrap();
        let (mut folder, _) = open(directory.path());
        let seed = *folder.seed().bytes();
        folder.append([record(1, 10)].into_iter()).unwrap();
        drop(folder);
        fs::write(directory.path().join(STATE), damage).unwrap();
        let (folder, found) = open(directory.path());
        assert!(found.is_empty());
        assert_ne!(folder.seed().bytes(), &seed);
        let kept = names(directory.path()).into_iter().filter(|name| name.contains(".refused-")).count();
        assert_eq!(kept, 2, "{:?}", names(directory.path()));
        drop(folder);
        assert!(open(directory.path()).1.is_empty(), "and it begins once");
    }
}

#[test]
fn a_journal_of_another_ledger_is_kept_aside_and_the_rest_is_read() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (directory, spent) in [(&one, 10), (&other, 99)] {
        let (mut folder, _) = open(directory.path());
        folder.rotate().unwrap();
        folder.save(&[record(1, spent)]).unwrap();
        folder.append([record(2, spent)].into_iter()).unwrap();
    }
    fs::copy(other.path().join("limits.journal.1"), one.path().join("limits.journal.1")).unwrap();
    assert_eq!(spent(&open(one.path()).1), [(1, 10)]);
    assert!(names(one.path()).iter().any(|name| name.starts_with("limits.journal.1.refused-")));
}

#[test]
fn two_processes_never_write_one_ledger() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path());
    let error = Folder::open(directory.path()).err().unwrap();
    assert_eq!(error.to_string(), "another process keeps its limits there");
    drop(first);
    open(directory.path());
}

#[test]
fn a_folder_that_cannot_be_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below"), directory.path().join("a/b")] {
        assert!(Folder::open(&path).is_err(), "{}", path.display());
    }
}

#[test]
fn a_save_that_fails_leaves_everything_that_was_there_and_the_next_one_mends_it() {
    let directory = tempfile::tempdir().unwrap();
    let (mut folder, _) = open(directory.path());
    folder.append([record(1, 10)].into_iter()).unwrap();
    folder.rotate().unwrap();
    // Nothing can be renamed over a folder.
    let state = directory.path().join(STATE);
    let good = fs::read(&state).unwrap();
    fs::remove_file(&state).unwrap();
    fs::create_dir_all(state.join("in the way")).unwrap();
    assert!(folder.save(&[record(1, 10)]).is_err());
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, good).unwrap();
    folder.append([record(1, 11)].into_iter()).unwrap();
    assert_eq!(spent(&open(killed(directory.path()).path()).1), [(1, 11)]);
    folder.rotate().unwrap();
    assert_eq!(journals(directory.path()).len(), 2, "tries do not pile journals up");
    folder.save(&[record(1, 11)]).unwrap();
    assert_eq!(spent(&open(killed(directory.path()).path()).1), [(1, 11)]);
}

#[test]
fn a_full_disk_is_told_when_something_is_appended_and_not_again_by_another_name() {
    let dir = tempfile::tempdir().unwrap();
    let (mut folder, _) = open(dir.path());
    folder.journal = File::options().write(true).open("/dev/full").unwrap();
    let full = folder.append([record(1, 5)].into_iter()).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert!(folder.is_broken());
    folder.sync().expect("nothing counts that would have to be on the disk");
}
