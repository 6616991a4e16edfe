package dev.fovea.client;

/**
 * What is known of a stored image, measured once when it was uploaded. {@code size} is what a viewer
 * shows, after the EXIF orientation; two files of equal pixels share their {@code pixelDigest}.
 * {@code textHeight} is that of the smallest common text in pixels of this size, 0 where none was
 * found; {@code edgeDensity} and {@code uniformShare} are shares of pixels and of 32x32 squares.
 */
public record ImageFacts(
    String digest,
    String pixelDigest,
    ImageFormat format,
    long byteSize,
    Size size,
    int exifOrientation,
    boolean hadAlpha,
    double textHeight,
    double edgeDensity,
    double uniformShare,
    ImageKind kind) {}
