//! Pictures, as common encoders write them.

/// A JPEG of RGB `pixels`, row by row.
///
/// # Panics
/// When they are not `width` times `height` pixels.
pub fn jpeg(pixels: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut out = Vec::new();
    jpeg_encoder::Encoder::new(&mut out, 80)
        .encode(pixels, width, height, jpeg_encoder::ColorType::Rgb)
        .expect("a JPEG");
    out
}

/// A PNG of them.
///
/// # Panics
/// As [`jpeg`].
pub fn png(pixels: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width.into(), height.into());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header().expect("a PNG's header");
    writer.write_image_data(pixels).expect("a PNG's pixels");
    writer.finish().expect("a PNG's end");
    out
}
