//! EFS: any bytes are metadata, a key file and a raw backup stream, or an error; what is exported comes back.
#![no_main]

use std::{ops::Range, sync::Arc};

use libfuzzer_sys::fuzz_target;
use undelfs_efs::{
    KeyRing, Metadata, load,
    raw::{Block, Export, MAGIC, Sink, Source, read, without_named_streams},
};
use undelfs_source::ReadAt;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 4 {
        0 => metadata(data),
        1 => drop(load(data, Some("secret"))),
        2 => raw(data),
        _ => export(data),
    }
});

fn metadata(data: &[u8]) {
    let mut bytes = data.to_vec();
    // The length would hide what follows.
    if let Some(length) = bytes.get_mut(..4)
        && data.len() % 2 == 0
    {
        length.copy_from_slice(&(data.len() as u32).to_le_bytes());
    }
    if let Ok(metadata) = Metadata::parse(&bytes) {
        assert!(!metadata.who().contains('\n'));
        assert!(KeyRing::default().unlock(&metadata).is_err());
    }
}

/// Checks the order of what comes.
#[derive(Default)]
struct Ordered {
    content: Vec<(Vec<u8>, u64)>,
    seen_metadata: bool,
    at: u64,
}

impl Sink for Ordered {
    type Error = ();

    fn metadata(&mut self, _: &[u8]) -> Result<(), ()> {
        assert!(!self.seen_metadata && self.content.is_empty());
        self.seen_metadata = true;
        Ok(())
    }

    fn stream(&mut self, name: &[u8], _: bool) -> Result<(), ()> {
        assert!(self.content.iter().all(|(other, _)| other != name) && !name.contains(&b'/'));
        self.content.push((name.to_vec(), 0));
        self.at = 0;
        Ok(())
    }

    fn block(&mut self, block: Block<'_>) -> Result<(), ()> {
        assert!(block.offset >= self.at && block.valid <= block.end && block.stored.len() % 512 == 0);
        self.at = block.offset + block.stored.len() as u64;
        self.content.last_mut().expect("a stream").1 = block.end;
        Ok(())
    }

    fn plain(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.content.last_mut().expect("a stream").1 += bytes.len() as u64;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ()> {
        assert!(self.seen_metadata);
        Ok(())
    }
}

/// Parts with sound headers: a byte says which and how long, their content is the input's.
fn raw(data: &[u8]) {
    let mut bytes = [&MAGIC[..], &[0; 8]].concat();
    let mut part = |tag: &[u8; 4], body: &[u8]| {
        bytes.extend((12 + body.len() as u32).to_le_bytes());
        bytes.extend(tag.iter().flat_map(|letter| [*letter, 0]));
        bytes.extend(body);
    };
    let name = |name: &[u8]| [&[0; 12][..], &(name.len() as u32).to_le_bytes(), name].concat();
    part(b"NTFS", &name(&[0x10, 0x19]));
    part(b"GURE", &[0; 100]);
    let mut rest = data;
    while let Some((&[kind, len], after)) = rest.split_first_chunk() {
        let len = (usize::from(len) * if kind & 2 == 2 { 16 } else { 1 }).min(after.len());
        let (body, after) = after.split_at(len);
        match kind % 4 {
            0 => part(b"NTFS", &name(&[&b":\0"[..], body, b":\0$\0D\0A\0T\0A\0"].concat())),
            1 => part(b"NTFS", body),
            _ => part(b"GURE", body),
        }
        rest = after;
    }
    let sound = read(&mut &bytes[..], &mut Ordered::default()).is_ok();
    let begin = without_named_streams(&bytes).expect("bytes in memory") as usize;
    assert!(!sound || read(&mut &bytes[..begin], &mut Ordered::default()).is_ok());
}

fn export(data: &[u8]) {
    let Some((&[size, shift, cluster], rest)) = data.split_first_chunk() else { return };
    let size = u64::from(size) << (shift % 12);
    let mut at = 0;
    let mut stored: Vec<Range<u64>> = Vec::new();
    for pair in rest.chunks_exact(2) {
        let start = at + u64::from(pair[0]) * 512 + if stored.is_empty() { 0 } else { 512 };
        let end = start + (u64::from(pair[1]) + 1) * 512;
        stored.push(start..end);
        at = end;
    }
    let bytes: Arc<dyn ReadAt> = Arc::new(vec![7; size.next_multiple_of(512) as usize]);
    let source = Source { name: Vec::new(), size, valid: size, stored: Some(stored), sparse: false, bytes };
    let export = Export::new(&[0; 100], vec![source], 512 << (cluster % 8)).expect("a size that can be");
    let mut whole = vec![0; export.size() as usize];
    export.read_exact_at(&mut whole, 0).expect("its bytes");
    let mut sink = Ordered::default();
    assert!(read(&mut &whole[..], &mut sink).is_ok());
    assert_eq!(sink.content[0].1, size);
    assert_eq!(without_named_streams(&export).expect("its headers"), export.size());
    let (from, part) = (whole.len() / 3, whole.len() / 2);
    let mut again = vec![0; part];
    export.read_exact_at(&mut again, from as u64).expect("its bytes");
    assert!(again == whole[from..from + part]);
}
