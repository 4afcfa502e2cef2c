//! The images hold what their manifests say: checked with programs that know nothing of undelfs.

use std::process::Command;

use undelfs_tests::{
    check::{self, Names},
    guard,
    manifest::{File, Kind, LinkForm, Name},
    ntfs3g::{Streams, Volume},
    recipe::{Made, Recipe},
    tools, walk,
};

#[test]
fn ntfs_3g_reads_every_live_file_of_an_image_as_the_manifest_says() {
    let dir = guard::scratch();
    for (cluster, sector) in [(4096, 512), (65_536, 512), (4096, 4096)] {
        let made = Recipe { sector, ..Recipe::new(31) }.clusters_of(cluster).make(dir.path());
        let volume = Volume::read(&made.image, Streams::Xattr);
        // ntfs-3g shows a symbolic link of Windows only when its target exists.
        let shown = |file: &&File| file.link.as_ref().is_none_or(|link| link.form == LinkForm::Wsl);
        let live = made.manifest.live().filter(shown);
        check::assert_none("live", &check::content(volume.root(), live, Names::EveryLive));
        check::assert_none("tree", &check::only_live(&walk::walk(volume.root()), &made.manifest));
        volume.unmount();
        let volume = Volume::read(&made.image, Streams::Windows);
        check::assert_none("streams", &check::streams_as_files(volume.root(), made.manifest.live()));
        volume.unmount();
    }
}

#[test]
fn half_of_the_files_are_deleted_of_every_kind_some_and_some_with_their_folders() {
    let dir = guard::scratch();
    let manifest = Recipe::new(32).make(dir.path()).manifest;
    let deleted = manifest.deleted().count();
    assert!((290..=300).contains(&deleted), "{deleted}");
    for kind in [Kind::Fragmented, Kind::Compressed, Kind::Sparse, Kind::NamedStreams, Kind::HardLinks] {
        assert!(manifest.deleted().any(|file| file.kind == kind), "{kind:?}");
        assert!(manifest.live().any(|file| file.kind == kind), "{kind:?}");
    }
    assert!(manifest.directories.iter().any(|directory| directory.removed));
    assert!(manifest.files.iter().any(|f| !f.is_deleted() && f.names.iter().any(|name| name.removed)));
}

#[test]
fn the_structures_that_a_recipe_promises_are_on_the_volume() {
    let dir = guard::scratch();
    let image = dir.path().join("live.img");
    let manifest = Recipe::new(33).make_live(&image);
    let info = |kind: Kind| -> Vec<String> {
        let files = manifest.files.iter().filter(|file| file.kind == kind);
        files
            .map(|file| {
                let path = file.path().as_os_str();
                let mut command = tools::tool("ntfsinfo");
                tools::said(&command.args(["-v", "-f", "-F"]).arg(path).arg(&image).output().unwrap())
            })
            .filter(|text| text.contains("Dumping Inode"))
            .collect()
    };
    for kind in [Kind::Shattered, Kind::ManyStreams, Kind::ManyLinks] {
        let texts = info(kind);
        let lists = texts.iter().filter(|text| text.contains("$ATTRIBUTE_LIST")).count();
        assert!(lists > 0, "{kind:?}: no attribute list in {} files", texts.len());
    }
    let runs = |text: &String| text.split("Total runs: ").nth(1)?.split(' ').next()?.parse::<u32>().ok();
    assert!(info(Kind::Fragmented).iter().filter_map(runs).any(|runs| runs > 20));
    assert!(info(Kind::Shattered).iter().filter_map(runs).any(|runs| runs > 300));
    assert!(info(Kind::Compressed).iter().any(|text| text.contains("0x0001")), "no compressed attribute");
    assert!(info(Kind::Sparse).iter().any(|text| text.contains("0x8000")), "no sparse attribute");
    let mut command = tools::tool("ntfsinfo");
    let mft = tools::said(&command.args(["-v", "-f", "-i", "0"]).arg(&image).output().unwrap());
    assert!(runs(&mft).is_some_and(|runs| runs > 3), "$MFT is whole: {mft}");
}

#[test]
fn the_sleuth_kit_sees_the_deleted_files_too() {
    let dir = guard::scratch();
    let Made { image, manifest } = Recipe::new(34).make(dir.path());
    let list = tools::run("fls", ["-r", "-d", "-p", image.to_str().unwrap()]);
    let plain = |name: &&Name| name.path.to_str().is_some_and(|path| path.is_ascii());
    let files = manifest.known();
    let names: Vec<_> = files.flat_map(|file| &file.names).filter(plain).collect();
    let seen =
        names.iter().filter(|name| list.contains(name.path.file_name().unwrap().to_str().unwrap())).count();
    assert!(names.len() > 20 && seen * 2 > names.len(), "{seen} of {}", names.len());
    assert!(
        Command::new("ntfsfix").arg("-n").arg(&image).output().is_ok_and(|output| output.status.success())
    );
}
