package dev.fovea.client;

/**
 * What is known of a stored image, measured once when it was uploaded. {@code size} is what a viewer
 * shows, after the EXIF orientation; two files of equal pixels share their {@code pixelDigest}.
 */
public record ImageFacts(
    String digest,
    String pixelDigest,
    ImageFormat format,
    long byteSize,
    Size size,
    int exifOrientation,
    boolean hadAlpha) {}
