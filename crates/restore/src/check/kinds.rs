//! Kinds of content that are told by how they begin, and the extensions of the files that begin so.
//!
//! The signatures are those of the `file-format` crate. What it cannot say stands here: which kinds share a
//! container, which extensions promise a signature, and which signatures are too short to prove anything.

use file_format::FileFormat::{self, *};

/// Bytes of the begin of a content that are looked at.
pub(crate) const BEGIN: usize = 4096;

/// Longest extension that any kind has, in bytes.
const LONGEST: usize = 12;

/// Offset of the field `e_lfanew` of an MS-DOS header, which says where the PE signature stands (PE format,
/// section "MS-DOS Stub").
const E_LFANEW: usize = 0x3C;

/// Kinds of content that no reader of the begin can tell apart, or that are mistaken for each other all the time.
#[derive(Debug)]
pub(crate) struct Kind {
    /// What it is called in a sentence.
    pub(crate) name: &'static str,
    formats: &'static [FileFormat],
    /// A file with one of these extensions begins with a signature of this kind.
    promised: &'static [&'static str],
    /// A file with one of these extensions may begin so.
    fitting: &'static [&'static str],
    /// The signature is long enough that nothing else begins so by chance.
    pub(crate) telling: bool,
    /// The content is compressed throughout: no cluster of it is one byte all over.
    pub(crate) dense: bool,
}

impl Kind {
    const fn new(
        name: &'static str,
        formats: &'static [FileFormat],
        promised: &'static [&'static str],
        fitting: &'static [&'static str],
    ) -> Self {
        Self { name, formats, promised, fitting, telling: true, dense: false }
    }

    const fn dense(self) -> Self {
        Self { dense: true, ..self }
    }

    const fn weak(self) -> Self {
        Self { telling: false, ..self }
    }

    /// True where a file with this extension may begin so.
    pub(crate) fn fits(&self, extension: &[u8]) -> bool {
        has(self.promised, extension) || has(self.fitting, extension)
    }
}

fn has(list: &[&str], extension: &[u8]) -> bool {
    list.iter().any(|one| one.as_bytes().eq_ignore_ascii_case(extension))
}

/// All kinds. A kind is kept as its place here, in a byte that has room for no more than 200.
pub(crate) static KINDS: &[Kind] = &[
    Kind::new(
        "JPEG",
        &[JointPhotographicExpertsGroup, JpegLs],
        &["jpg", "jpeg", "jpe", "jfif", "mpo"],
        &["thm", "jls", "jps"],
    )
    .dense(),
    Kind::new("PNG", &[PortableNetworkGraphics, AnimatedPortableNetworkGraphics], &["png", "apng"], &[])
        .dense(),
    Kind::new("GIF", &[GraphicsInterchangeFormat], &["gif"], &[]).dense(),
    Kind::new("WebP", &[Webp], &["webp"], &[]).dense(),
    Kind::new("BMP", &[WindowsBitmap], &["bmp"], &["dib", "rle"]),
    Kind::new(
        "TIFF",
        &[TagImageFileFormat, CanonRaw2, NikonElectronicFile, SonyAlphaRaw, PanasonicRaw, OlympusRawFormat],
        &["tif", "tiff", "dng", "nef", "cr2", "arw", "orf", "rw2", "pef", "srw"],
        &[
            "nrw", "sr2", "srf", "erf", "kdc", "dcr", "3fr", "iiq", "mef", "mos", "rwl", "raw", "lsm", "svs",
            "jxr", "wdp", "hdp",
        ],
    ),
    Kind::new("Fujifilm raw", &[FujifilmRaw], &["raf"], &[]),
    Kind::new("Canon raw", &[CanonRaw], &["crw"], &[]),
    Kind::new("Photoshop", &[AdobePhotoshopDocument], &["psd", "psb"], &["pdd"]),
    Kind::new("GIMP", &[ExperimentalComputingFacility], &["xcf"], &[]),
    Kind::new(
        "JPEG 2000",
        &[Jpeg2000Part1, Jpeg2000Part2, Jpeg2000Part3, Jpeg2000Part6, Jpeg2000Codestream],
        &["jp2"],
        &["jpx", "jpf", "jpm", "mj2", "j2k", "j2c", "jpc"],
    )
    .dense(),
    Kind::new("JPEG XL", &[JpegXl], &["jxl"], &[]).weak().dense(),
    Kind::new("icon", &[WindowsIcon, WindowsCursor], &["ico", "cur"], &[]).weak(),
    Kind::new("DjVu", &[Djvu], &["djvu", "djv"], &[]).dense(),
    Kind::new("OpenEXR", &[Openexr], &["exr"], &[]),
    Kind::new("enhanced metafile", &[EnhancedMetafile], &["emf"], &[]),
    Kind::new(
        "MP4",
        &[
            Mpeg4Part14,
            Mpeg4Part14Audio,
            Mpeg4Part14Subtitles,
            Mpeg4Part14Video,
            AppleQuicktime,
            AppleItunesAudio,
            AppleItunesAudiobook,
            AppleItunesProtectedAudio,
            AppleItunesVideo,
            FlashMp4Audio,
            FlashMp4Audiobook,
            FlashMp4ProtectedVideo,
            FlashMp4Video,
            SonyMovie,
            ThirdGenerationPartnershipProject,
            ThirdGenerationPartnershipProject2,
            CanonRaw3,
            HighEfficiencyImageCoding,
            HighEfficiencyImageCodingSequence,
            HighEfficiencyImageFileFormat,
            HighEfficiencyImageFileFormatSequence,
            Av1ImageFileFormat,
            Av1ImageFileFormatSequence,
        ],
        &["mp4", "m4v", "m4a", "m4b", "mov", "heic", "heif", "avif", "3gp", "3g2", "cr3"],
        &["m4p", "m4r", "qt", "f4v", "f4a", "hif", "avci", "insv", "lrv", "mqv", "aac", "mpg4", "mp4v"],
    )
    .dense(),
    Kind::new(
        "Matroska",
        &[
            ExtensibleBinaryMetaLanguage,
            MatroskaVideo,
            MatroskaAudio,
            MatroskaSubtitles,
            Matroska3dVideo,
            Webm,
        ],
        &["mkv", "mka", "webm"],
        &["mks", "mk3d"],
    )
    .dense(),
    Kind::new("AVI", &[AudioVideoInterleave], &["avi"], &["divx"]),
    Kind::new("WAVE", &[WaveformAudio, CdAudio], &["wav"], &["wave", "mp3", "mp2", "at3", "bwf", "cda"]),
    Kind::new(
        "Windows Media",
        &[AdvancedSystemsFormat, WindowsMediaAudio, WindowsMediaVideo, MicrosoftDigitalVideoRecording],
        &["wmv", "wma", "asf"],
        &["dvr-ms", "avi"],
    )
    .dense(),
    Kind::new("Flash video", &[FlashVideo], &["flv"], &[]).dense(),
    Kind::new(
        "MPEG video",
        &[Mpeg12Video],
        &[],
        &["mpg", "mpeg", "mpe", "vob", "m2v", "m1v", "mpv", "dat", "evo", "mod", "tod", "vro", "m2p"],
    ),
    Kind::new(
        "MPEG transport stream",
        &[Mpeg2TransportStream, BdavMpeg2TransportStream],
        &[],
        &["ts", "m2ts", "mts", "m2t", "tp", "trp", "mpg", "mpeg", "tod"],
    )
    .weak(),
    Kind::new("RealMedia", &[Realmedia, Realaudio, Realvideo], &["rm", "rmvb"], &["ra", "rv", "ram"]).dense(),
    Kind::new(
        "ID3 tag",
        &[Id3v2],
        &["mp3"],
        &["mp2", "aac", "flac", "tta", "ape", "mpc", "wav", "aif", "aiff", "dsf", "ac3", "dts"],
    ),
    Kind::new(
        "MPEG audio",
        &[Mpeg12AudioLayer3, Mpeg12AudioLayer2, AdvancedAudioCoding],
        &["mp3"],
        &["mp2", "mpa", "aac"],
    )
    .weak(),
    Kind::new("FLAC", &[FreeLosslessAudioCodec], &["flac"], &["fla"]).dense(),
    Kind::new(
        "Ogg",
        &[OggMultiplexedMedia, OggFlac, OggMedia, OggOpus, OggSpeex, OggTheora, OggVorbis],
        &["ogg", "oga", "ogv", "opus"],
        &["spx", "ogx", "ogm", "flac"],
    )
    .dense(),
    Kind::new("AIFF", &[AudioInterchangeFileFormat], &["aif", "aiff"], &["aifc"]),
    Kind::new("MIDI", &[MusicalInstrumentDigitalInterface], &["mid", "midi"], &["kar", "rmi"]),
    Kind::new("Monkey's Audio", &[MonkeysAudio], &["ape"], &["mac"]).dense(),
    Kind::new("WavPack", &[Wavpack], &["wv"], &["wvc"]).dense(),
    Kind::new("AMR", &[AdaptiveMultiRate], &["amr"], &["awb", "3ga"]),
    Kind::new("PDF", &[PortableDocumentFormat], &["pdf"], &["ai", "fdf", "pdfa"]),
    Kind::new(
        "PostScript",
        &[Postscript, EncapsulatedPostscript, AdobeIllustratorArtwork],
        &["ps"],
        &["eps", "ai", "epsf", "pdf"],
    )
    .weak(),
    Kind::new("RTF", &[RichTextFormat], &["rtf"], &["doc", "dot", "wri"]),
    Kind::new(
        "compound file",
        &[
            CompoundFileBinary,
            MicrosoftWordDocument,
            MicrosoftExcelSpreadsheet,
            MicrosoftPowerpointPresentation,
            MicrosoftSoftwareInstaller,
            MicrosoftProjectPlan,
            MicrosoftPublisherDocument,
            MicrosoftVisioDrawing,
        ],
        &["doc", "xls", "ppt", "msi", "msg", "pps", "mpp", "vsd"],
        &[
            "dot", "xlt", "pot", "xla", "pub", "msp", "mst", "db", "max", "wps", "hwp", "sldprt", "sldasm",
            "slddrw", "docx", "xlsx", "pptx", "docm", "xlsm", "pptm", "wiz", "fla", "ipt", "iam", "suo",
            "one", "tmp",
        ],
    ),
    Kind::new(
        "ZIP",
        &[
            Zip,
            OfficeOpenXmlDocument,
            OfficeOpenXmlSpreadsheet,
            OfficeOpenXmlPresentation,
            JavaArchive,
            AndroidPackage,
            ElectronicPublication,
        ],
        &[
            "zip", "docx", "xlsx", "pptx", "docm", "xlsm", "pptm", "dotx", "xltx", "ppsx", "potx", "vsdx",
            "odt", "ods", "odp", "odg", "epub", "jar", "apk", "cbz", "xps", "kmz",
        ],
        &[
            "doc",
            "xls",
            "ppt",
            "odf",
            "ott",
            "ots",
            "otp",
            "odb",
            "sxw",
            "sxc",
            "sxi",
            "xpi",
            "war",
            "ear",
            "aar",
            "ipa",
            "oxps",
            "3mf",
            "usdz",
            "nupkg",
            "whl",
            "appx",
            "msix",
            "appxbundle",
            "msixbundle",
            "vsix",
            "idml",
            "sketch",
            "pages",
            "numbers",
            "key",
            "aab",
            "thmx",
            "xlsb",
            "dotm",
            "xltm",
            "ppsm",
            "potm",
            "crx",
            "xap",
            "air",
            "mxl",
            "fla",
            "fig",
            "psmdcp",
            "exe",
            "cbr",
            "wgt",
            "wmz",
            "ggb",
            "kra",
            "ora",
            "f3d",
            "dwfx",
            "pbix",
            "tmp",
        ],
    )
    .dense(),
    Kind::new("7-Zip", &[SevenZip], &["7z"], &["cb7", "exe"]).dense(),
    Kind::new("RAR", &[RoshalArchive], &["rar"], &["cbr", "rev", "exe", "r00", "r01"]).dense(),
    Kind::new(
        "gzip",
        &[Gzip],
        &["gz", "tgz"],
        &["svgz", "taz", "emz", "wmz", "adz", "dia", "blend", "als", "z", "cpgz", "schem", "nbt", "dat"],
    )
    .dense(),
    Kind::new("bzip2", &[Bzip2], &["bz2", "tbz2"], &["tbz", "dmg"]).dense(),
    Kind::new("xz", &[Xz], &["xz", "txz"], &[]).dense(),
    Kind::new("Zstandard", &[Zstandard], &["zst"], &["tzst", "blend", "zstd"]).dense(),
    Kind::new("LZ4", &[Lz4], &["lz4"], &[]).dense(),
    Kind::new("lzip", &[Lzip], &["lz"], &["tlz"]).dense(),
    Kind::new("cabinet", &[Cabinet], &["cab"], &["msu", "snp", "diagcab", "thmx", "hdr", "exe", "onepkg"])
        .dense(),
    Kind::new("tar", &[TapeArchive], &[], &["tar", "gem", "ova", "cbt", "pax", "crate"]),
    Kind::new("RPM", &[RedHatPackageManager], &["rpm"], &[]).dense(),
    Kind::new("ar archive", &[UnixArchiver, DebianPackage], &["deb"], &["a", "ar", "lib", "udeb", "ipk"]),
    Kind::new("Windows image", &[WindowsImagingFormat], &["wim"], &["esd", "swm", "ppkg"]),
    Kind::new("VHDX", &[MicrosoftVirtualHardDisk2], &["vhdx"], &["avhdx", "vhdpmem"]),
    Kind::new("VHD", &[MicrosoftVirtualHardDisk], &[], &["vhd", "avhd", "vpc"]),
    Kind::new("VMDK", &[VirtualMachineDisk], &[], &["vmdk"]),
    Kind::new("VDI", &[VirtualboxVirtualDiskImage], &["vdi"], &[]),
    Kind::new("QCOW", &[QemuCopyOnWrite], &["qcow2"], &["qcow", "img"]),
    Kind::new(
        "SQLite",
        &[Sqlite3],
        &["sqlite", "sqlite3"],
        &[
            "db",
            "db3",
            "sdb",
            "s3db",
            "sl3",
            "gpkg",
            "mbtiles",
            "lrcat",
            "dat",
            "data",
            "store",
            "localstorage",
        ],
    ),
    Kind::new(
        "Access",
        &[MicrosoftAccessDatabase, MicrosoftAccess2007Database],
        &["mdb", "accdb"],
        &["mde", "accde", "mda", "ldb", "mny"],
    ),
    Kind::new("Outlook store", &[PersonalStorageTable], &["pst", "ost"], &["pab", "nst"]),
    Kind::new(
        "Windows program",
        &[PortableExecutable, DynamicLinkLibrary],
        &["exe", "dll", "sys", "ocx", "scr", "cpl", "efi"],
        &[
            "drv", "mui", "com", "acm", "ax", "tsp", "node", "pyd", "bin", "winmd", "rll", "tlb", "ime",
            "fon", "mun", "vxd", "386", "tmp", "xll", "wll", "bpl", "8bf",
        ],
    ),
    Kind::new(
        "MS-DOS program",
        &[MsDosExecutable],
        &["exe", "dll", "sys", "ocx", "scr", "cpl"],
        &["drv", "com", "fon", "vxd", "386", "ovl", "tsp", "bin", "ovr"],
    )
    .weak(),
    Kind::new(
        "ELF",
        &[ExecutableAndLinkableFormat, Appimage],
        &["elf"],
        &["so", "o", "ko", "bin", "out", "axf", "prx", "node", "appimage", "mod", "run", "puff", "x86_64"],
    ),
    Kind::new("Mach-O", &[MachO], &[], &["dylib", "o", "bundle", "so", "class", "node"]),
    Kind::new("Java class", &[JavaClass], &["class"], &["dylib"]),
    Kind::new("WebAssembly", &[WebassemblyBinary], &["wasm"], &[]),
    Kind::new("Windows shortcut", &[WindowsShortcut], &["lnk"], &[]),
    Kind::new("compiled help", &[MicrosoftCompiledHtmlHelp], &["chm"], &["chi", "chq", "its"]),
    Kind::new("Flash", &[SmallWebFormat], &["swf"], &["spl"]).weak(),
    Kind::new("DWG", &[AutocadDrawing], &["dwg"], &["dwt", "dws", "bak", "sv$"]),
    Kind::new("Mobipocket", &[Mobipocket], &["mobi"], &["azw", "azw3", "prc", "azw4"]),
    Kind::new("InDesign", &[AdobeIndesignDocument], &["indd"], &["indt", "indb", "indl"]),
    Kind::new("OpenType font", &[Opentype, TruetypeCollection], &["otf", "ttc"], &["ttf", "otc"]),
    Kind::new("TrueType font", &[Truetype], &["ttf", "otf"], &["fnt", "tte", "dfont"]).weak(),
    Kind::new("web font", &[WebOpenFontFormat, WebOpenFontFormat2], &["woff", "woff2"], &[]).dense(),
    Kind::new(
        "packet capture",
        &[PcapDump, PcapNextGenerationDump],
        &["pcap", "pcapng"],
        &["cap", "dmp", "ntar"],
    ),
    Kind::new("DirectDraw surface", &[MicrosoftDirectdrawSurface], &["dds"], &[]),
    Kind::new("Apple icon", &[AppleIconImage], &["icns"], &[]),
    Kind::new("Blender", &[Blender], &[], &["blend", "blend1"]),
    Kind::new("DICOM", &[DigitalImagingAndCommunicationsInMedicine], &[], &["dcm", "dicom", "ima"]),
    Kind::new(
        "HTML",
        &[HypertextMarkupLanguage],
        &[],
        &["html", "htm", "xhtml", "php", "asp", "hta", "doc", "xls", "mht"],
    )
    .weak(),
    Kind::new(
        "XML",
        &[ExtensibleMarkupLanguage],
        &[],
        &["xml", "svg", "xhtml", "html", "htm", "xsl", "config", "plist", "rels"],
    )
    .weak(),
    Kind::new(
        "script",
        &[ShellScript, PythonScript, PerlScript, RubyScript],
        &[],
        &["sh", "py", "pl", "rb", "cgi", "run", "bin"],
    )
    .weak(),
];

/// How a content begins: the place of its kind in [`KINDS`].
pub(crate) fn recognise(begin: &[u8]) -> Option<u8> {
    let begin = begin.get(..BEGIN).unwrap_or(begin);
    let format = match FileFormat::from_bytes(begin) {
        MsDosExecutable if is_portable_executable(begin) => PortableExecutable,
        // Two bytes of signature and the only method there is (RFC 1952, section 2.3.1).
        Gzip if begin.get(2) != Some(&8) => return None,
        // The level, then the signature of a block or of the end of the stream.
        Bzip2 if !is_bzip2(begin) => return None,
        format => format,
    };
    let place = KINDS.iter().position(|kind| kind.formats.contains(&format))?;
    u8::try_from(place).ok()
}

fn is_portable_executable(begin: &[u8]) -> bool {
    let field = begin.get(E_LFANEW..).and_then(|rest| rest.first_chunk::<4>());
    let at = field.and_then(|bytes| usize::try_from(u32::from_le_bytes(*bytes)).ok());
    let signature = at.and_then(|at| begin.get(at..)).and_then(|rest| rest.first_chunk::<4>());
    signature == Some(b"PE\0\0")
}

fn is_bzip2(begin: &[u8]) -> bool {
    const BLOCK: &[u8] = &[0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
    const END: &[u8] = &[0x17, 0x72, 0x45, 0x38, 0x50, 0x90];
    let level = begin.get(3).is_some_and(|level| (b'1'..=b'9').contains(level));
    level && begin.get(4..).is_some_and(|rest| rest.starts_with(BLOCK) || rest.starts_with(END))
}

/// The kind whose signature every file with this extension begins with, where there is one.
pub(crate) fn promised(extension: &[u8]) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| has(kind.promised, extension))
}

/// What follows the last dot of a name, where it can be an extension of a kind.
pub(crate) fn extension(name: &[u8]) -> Option<&[u8]> {
    let dot = name.iter().rposition(|byte| *byte == b'.')?;
    // A name that begins with its only dot has no extension.
    name.get(dot + 1..).filter(|rest| dot > 0 && (1..=LONGEST).contains(&rest.len()))
}

/// What kind of content begins so, where that is known: `JPEG`, `ZIP`. Takes any bytes; looks at the first 4 KiB.
pub fn content_kind(begin: &[u8]) -> Option<&'static str> {
    Some(KINDS.get(usize::from(recognise(begin)?))?.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_has_a_place_in_a_byte_and_no_format_is_of_two_kinds() {
        assert!(KINDS.len() < 200, "{}", KINDS.len());
        let mut formats: Vec<_> = KINDS.iter().flat_map(|kind| kind.formats).collect();
        let all = formats.len();
        formats.sort();
        formats.dedup();
        assert_eq!(formats.len(), all);
    }

    #[test]
    fn every_extension_can_be_found_in_a_name_and_is_written_in_small_letters() {
        for list in KINDS.iter().flat_map(|kind| [kind.promised, kind.fitting]) {
            for one in list {
                assert!(one.len() <= LONGEST && **one == one.to_ascii_lowercase(), "{one}");
            }
        }
    }

    #[test]
    fn a_kind_is_told_by_its_begin() {
        let mut pe = vec![0; 256];
        pe[..2].copy_from_slice(b"MZ");
        pe[E_LFANEW] = 0x80;
        assert_eq!(content_kind(&pe), Some("MS-DOS program"));
        pe[0x80..0x84].copy_from_slice(b"PE\0\0");
        assert_eq!(content_kind(&pe), Some("Windows program"));
        for (begin, kind) in [
            (&b"\xFF\xD8\xFF\xE0\0\x10JFIF"[..], Some("JPEG")),
            (b"\x89PNG\r\n\x1A\n", Some("PNG")),
            (b"PK\x03\x04", Some("ZIP")),
            (b"\x1F\x8B\x08", Some("gzip")),
            (b"\x1F\x8B\x07", None),
            (b"BZh91AY&SY", Some("bzip2")),
            (b"BZhello", None),
            (b"\0\0\0\x18ftypmp42", Some("MP4")),
            (b"%PDF-1.7", Some("PDF")),
            (b"", None),
            (&[0; 4096], None),
            (&[0xFF; 4096], None),
        ] {
            assert_eq!(content_kind(begin), kind, "{begin:x?}");
        }
    }

    #[test]
    fn an_extension_promises_one_kind_and_kinds_that_share_a_container_fit_each_other() {
        assert_eq!(promised(b"JPG").map(|kind| kind.name), Some("JPEG"));
        assert_eq!(promised(b"txt").map(|kind| kind.name), None);
        let zip = usize::from(recognise(b"PK\x03\x04").unwrap());
        assert!(KINDS[zip].fits(b"docx") && KINDS[zip].fits(b"jar") && KINDS[zip].fits(b"odt"));
        assert!(!KINDS[zip].fits(b"jpg"));
        assert_eq!(extension(b"a.tar.GZ"), Some(&b"GZ"[..]));
        for none in [&b"none"[..], b".hidden", b"dot.", b"a.much too long"] {
            assert_eq!(extension(none), None);
        }
    }

    proptest! {
        #[test]
        fn noise_is_of_no_telling_kind(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            // A signature of three bytes would be met once in sixteen million times.
            if let Some(place) = recognise(&bytes) {
                prop_assert!(!KINDS[usize::from(place)].telling);
            }
        }
    }
}
