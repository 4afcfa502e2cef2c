//! Files, directories, streams and the volume, as programs ask for them.

use super::{
    client::{NO_SUCH_NAME, NO_SUCH_PATH, OPEN, READ, Request, kind, of},
    mount_demo, units,
};

const DIRECTORY: u32 = 0x10;
const READONLY: u32 = 0x1;

#[test]
fn the_volume_is_read_only_keeps_case_and_has_its_label() {
    let mounted = mount_demo();
    assert!(mounted.volume.device.contains("WinFsp.Disk"), "{}", mounted.volume.device);
    let response = mounted.client.answered(&Request::new(kind::QUERY_VOLUME)).unwrap();
    // SAFETY: the response to a query of the volume.
    let info = unsafe { response.header().Rsp.QueryVolumeInformation.VolumeInfo };
    // The last cluster is the second boot sector's.
    assert_eq!((info.TotalSize, info.FreeSize), ((16 << 20) - 4096, 0));
    let label = &info.VolumeLabel[..usize::from(info.VolumeLabelLength) / 2];
    assert_eq!(String::from_utf16_lossy(label), "Family");
}

#[test]
fn names_are_found_in_any_case_and_come_back_in_their_own() {
    let client = mount_demo();
    let client = &client.client;
    let handle = client.open_text(r"\dOCUMENTS\THESIS\Notes.TXT").unwrap();
    let listed = client.open_text(r"\Documents\Thesis").unwrap();
    let listed = client.list(&listed, Some("notes.txt"), 4096);
    assert_eq!(listed.iter().map(|(_, facts)| *facts).collect::<Vec<_>>(), [handle.facts]);
    assert_eq!(String::from_utf16_lossy(&handle.name), r"\Documents\Thesis\notes.txt");
    assert_eq!(handle.facts.attributes & (READONLY | DIRECTORY), 0);
    client.close(&handle);
    assert_eq!(client.open_text(r"\Documents\nothing").unwrap_err(), NO_SUCH_NAME);
    assert_eq!(client.open_text(r"\nothing\nothing").unwrap_err(), NO_SUCH_PATH);
    assert_eq!(client.open_text(r"\Documents\Thesis\notes.txt\x").unwrap_err(), NO_SUCH_PATH);
}

#[test]
fn a_directory_is_listed_by_pattern_anew_and_through_any_buffer() {
    let mounted = mount_demo();
    let client = &mounted.client;
    let folder = client.open_text(r"\Documents\Thesis\Chapters").unwrap();
    assert_eq!(folder.facts.attributes & DIRECTORY, DIRECTORY);
    let names = |pattern: Option<&str>, room| -> Vec<String> {
        let list = client.list(&folder, pattern, room);
        list.iter().map(|(name, _)| String::from_utf16_lossy(name)).collect()
    };
    let all = names(None, 65_536);
    assert_eq!(all[..2], [".", ".."]);
    assert!(all.iter().any(|name| name == "Chapter 1.md"), "{all:?}");
    // A buffer that takes one entry or two.
    assert_eq!(names(None, 400), all);
    drop(all);

    // The pattern of a handle is that of its first query: another one needs another handle, as programs do it.
    let count = |pattern: &str| {
        let folder = client.open_text(r"\Documents\Thesis\Chapters").unwrap();
        let found = client.list(&folder, Some(pattern), 4096);
        client.close(&folder);
        found.len()
    };
    assert_eq!(count("chapter 1.MD"), 1);
    assert!(count("*.md") >= 4);
    assert_eq!(count("CHAPTER ?.md"), count("*.md"));
    assert_eq!(count("*.xyz"), 0);
    client.close(&folder);
    let root = client.open_text(r"\").unwrap();
    assert!(
        client.list(&root, None, 4096).iter().all(|(name, _)| name[0] != u16::from(b'.') || name.len() > 2)
    );
    client.close(&root);
}

#[test]
fn every_file_says_in_a_stream_what_undelfs_knows_of_it() {
    let mounted = mount_demo();
    let client = &mounted.client;
    let path = r"\Documents\Thesis\notes.txt";
    let handle = client.open_text(path).unwrap();
    let streams = client.streams(&handle).unwrap();
    assert_eq!(streams.first().map(|(name, size)| (name.len(), *size)), Some((0, handle.facts.size)));
    let (_, size) = streams.iter().find(|(name, _)| *name == units("undelfs")).expect("our stream");
    client.close(&handle);

    let stream = client.open_text(&format!("{path}:UNDELFS")).unwrap();
    assert_eq!(stream.facts.size, *size);
    let mut text = Vec::new();
    client.read_all(&stream, &mut |piece| text.extend_from_slice(piece)).unwrap();
    client.close(&stream);
    let known: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(known["state"], "deleted", "{known}");
    for name in ["confidence", "reason", "record", "provenance", "clusters_used", "clusters_in_use"] {
        assert!(known[name].is_string(), "{name} in {known}");
    }
    assert_eq!(client.open_text(r"\Documents:undelfs").unwrap_err(), NO_SUCH_NAME);
    assert_eq!(client.open_text(&format!("{path}:other")).unwrap_err(), NO_SUCH_NAME);
}

#[test]
fn the_generated_files_can_be_read_and_their_folder_is_not_listed() {
    let mounted = mount_demo();
    let client = &mounted.client;
    let root = client.open_text(r"\").unwrap();
    assert!(!client.list(&root, None, 65_536).iter().any(|(name, _)| *name == units(".undelfs")));
    client.close(&root);
    let report = client.open_text(r"\.undelfs\report.txt").unwrap();
    let mut text = Vec::new();
    client.read_all(&report, &mut |piece| text.extend_from_slice(piece)).unwrap();
    assert!(!text.is_empty());
    client.close(&report);
}

#[test]
fn a_file_is_no_directory_and_a_directory_no_file() {
    let mounted = mount_demo();
    let client = &mounted.client;
    let (folder, file) = (units(r"\Documents"), units(r"\Documents\Thesis\notes.txt"));
    assert_eq!(client.create(&file, OPEN, 0x1, READ).unwrap_err(), 0xC000_0103);
    assert_eq!(client.create(&folder, OPEN, 0x40, READ).unwrap_err(), 0xC000_00BA);
}

#[test]
fn who_mounted_may_read_and_the_descriptor_is_the_same_for_every_file() {
    let mounted = mount_demo();
    let client = &mounted.client;
    let handle = client.open_text(r"\Documents").unwrap();
    let mut request = Request::new(kind::QUERY_SECURITY);
    of!(request, QuerySecurity, handle);
    let response = client.answered(&request).unwrap();
    // SAFETY: the response to a query of security.
    let size = unsafe { response.header().Rsp.QuerySecurity.SecurityDescriptor.Size };
    let owner = crate::platform::user_sid().unwrap();
    let expected = undelfs_restore::windows::security::read_only(&owner, false).unwrap();
    assert_eq!(usize::from(size), expected.len());
    client.close(&handle);
}
