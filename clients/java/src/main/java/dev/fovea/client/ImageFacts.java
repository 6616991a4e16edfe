package dev.fovea.client;

/**
 * The facts of a stored image, measured once at upload. {@code size} is the size as a viewer shows
 * it, with the EXIF orientation applied. Files with equal pixels share their {@code pixelDigest}.
 * {@code textHeight} is the height of the smallest common text in pixels, 0 if no text was
 * detected. {@code edgeDensity} is the share of pixels on an edge, {@code uniformShare} the share
 * of uniform patches of 32x32 pixels. {@code kindConfidence} is the confidence of the learned gate
 * in {@code kind}, 0 if rules decided it.
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
    ImageKind kind,
    double kindConfidence) {}
