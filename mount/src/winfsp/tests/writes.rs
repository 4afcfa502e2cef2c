//! Every request to change something is refused, with the status of a medium that is write-protected.

use super::{
    Mounted,
    client::{Client, Handle, READ, Request, kind, of},
    mount_demo, units,
};

const WRITE_PROTECTED: u32 = 0xC000_00A2;

const SUPERSEDE: u32 = 0;
const OPEN: u32 = 1;
const CREATE: u32 = 2;
const OPEN_IF: u32 = 3;
const OVERWRITE: u32 = 4;
const OVERWRITE_IF: u32 = 5;

/// Rights to a file that only a writer asks for, each by itself.
const WRITERS: [u32; 7] = [0x2, 0x4, 0x10, 0x100, 0x1_0000, 0x4_0000, 0x8_0000];

const DELETE_ON_CLOSE: u32 = 0x1000;

fn refused(client: &Client, what: &str, request: &Request) {
    assert_eq!(client.answered(request).err(), Some(WRITE_PROTECTED), "{what}");
}

fn opened() -> (Mounted, Handle) {
    let mounted = mount_demo();
    let handle = mounted.client.open_text(r"\Documents\Thesis\notes.txt").unwrap();
    (mounted, handle)
}

#[test]
fn nothing_new_is_made_and_nothing_that_exists_is_opened_for_writing() {
    let mounted = mount_demo();
    let client = &mounted.client;
    let (there, new) = (units(r"\Documents\Thesis\notes.txt"), units(r"\Documents\new.txt"));
    let status =
        |name: &[u16], disposition, options, access| client.create(name, disposition, options, access).err();
    for disposition in [SUPERSEDE, CREATE, OPEN_IF, OVERWRITE_IF] {
        for options in [0, 1] {
            assert_eq!(
                status(&new, disposition, options, READ),
                Some(WRITE_PROTECTED),
                "new, {disposition} {options}"
            );
        }
    }
    for disposition in [SUPERSEDE, OVERWRITE, OVERWRITE_IF] {
        assert_eq!(status(&there, disposition, 0, READ), Some(WRITE_PROTECTED), "over, {disposition}");
    }
    for access in WRITERS {
        assert_eq!(status(&there, OPEN, 0, READ | access), Some(WRITE_PROTECTED), "{access:#x}");
    }
    assert_eq!(status(&there, OPEN, DELETE_ON_CLOSE, READ), Some(WRITE_PROTECTED));
    let handle = client.create(&there, OPEN_IF, 0, READ).expect("what exists is opened");
    client.close(&handle);
}

#[test]
fn data_size_times_attributes_names_and_security_cannot_be_set() {
    let (mounted, handle) = opened();
    let client = &mounted.client;

    let mut request = Request::new(kind::WRITE);
    let mut data = [0u8; 16];
    let write = of!(request, Write, handle);
    write.Address = data.as_mut_ptr().expose_provenance() as u64;
    write.Length = 16;
    refused(client, "write", &request);

    // It is a part of opening: where it fails the DLL has closed the file.
    let overwritten = client.open_text(r"\Documents\Thesis\notes.txt").unwrap();
    let mut request = Request::new(kind::OVERWRITE);
    of!(request, Overwrite, overwritten);
    refused(client, "overwrite", &request);

    // FILE_INFORMATION_CLASS: basic, disposition, allocation, end of file, rename, disposition and rename with flags.
    for class in [4, 13, 19, 20, 10, 64, 65] {
        let mut request = Request::new(kind::SET_INFORMATION);
        request.header.FileName = request.put_name(&units(r"\Documents\Thesis\notes.txt"));
        let new_name = request.put_name(&units(r"\Documents\Thesis\renamed.txt"));
        let set = of!(request, SetInformation, handle);
        set.FileInformationClass = class;
        // SAFETY: all parts are plain data, and the class says which one is meant.
        unsafe {
            match class {
                4 => set.Info.Basic.FileAttributes = 0x80,
                13 => set.Info.Disposition.set_Delete(1),
                19 => set.Info.Allocation.AllocationSize = 1 << 20,
                20 => set.Info.EndOfFile.FileSize = 1,
                64 => set.Info.DispositionEx.Flags = 1,
                10 => set.Info.Rename.NewFileName = new_name,
                _ => set.Info.RenameEx.NewFileName = new_name,
            }
        }
        refused(client, &format!("set information {class}"), &request);
    }

    let mut request = Request::new(kind::SET_SECURITY);
    let owner = crate::platform::user_sid().unwrap();
    let descriptor = undelfs_restore::windows::security::read_only(&owner, true).unwrap();
    let descriptor = request.put(&descriptor);
    let set = of!(request, SetSecurity, handle);
    set.SecurityInformation = 4;
    set.SecurityDescriptor = descriptor;
    refused(client, "set security", &request);

    let mut request = Request::new(kind::SET_EA);
    // FILE_FULL_EA_INFORMATION: no next one, no flags, a name of one character and a value of one byte.
    let attribute = request.put(&[0, 0, 0, 0, 0, 1, 1, 0, b'A', 0, b'x']);
    of!(request, SetEa, handle).Ea = attribute;
    refused(client, "set extended attribute", &request);

    let mut request = Request::new(kind::SET_VOLUME);
    let label = request.put_name(&units("NEW"));
    // The class of a label.
    request.header.Req.SetVolumeInformation.FsInformationClass = 2;
    request.header.Req.SetVolumeInformation.Info.Label.VolumeLabel = label;
    refused(client, "set label", &request);

    // FSCTL_SET_REPARSE_POINT with a symbolic link.
    let point = undelfs_restore::windows::reparse::symlink(b"elsewhere").unwrap();
    let mut request = Request::new(kind::CONTROL);
    request.header.FileName = request.put_name(&units(r"\Documents\Thesis\notes.txt"));
    let point = request.put(&point);
    let control = of!(request, FileSystemControl, handle);
    control.FsControlCode = 0x0009_00A4;
    control.Buffer = point;
    refused(client, "set reparse point", &request);
    client.close(&handle);
}

#[test]
fn flushing_is_no_change() {
    let (mounted, handle) = opened();
    let mut request = Request::new(kind::FLUSH);
    of!(request, FlushBuffers, handle);
    assert!(mounted.client.answered(&request).is_ok());
    mounted.client.close(&handle);
}
