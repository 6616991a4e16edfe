package dev.fovea.client;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import java.awt.Color;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashSet;
import java.util.OptionalInt;
import java.util.Set;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Shrinking before upload: what comes out, and that the service counts it as it did before. */
@Timeout(300)
@ExtendWith(House.Shared.class)
class FitTest {
  private static final Fit SMALL = new Fit(new Geometry(4096, 16_777_216), 256 * 256);

  private static BufferedImage read(byte[] file) throws IOException {
    return ImageIO.read(new ByteArrayInputStream(file));
  }

  private static Set<Size> vectorSizes() {
    Set<Size> sizes = new LinkedHashSet<>();
    var cases = Repository.json("tests/vectors/geometry.json").getAsJsonObject().get("cases");
    for (JsonElement each : cases.getAsJsonArray()) {
      var size = each.getAsJsonObject();
      sizes.add(new Size(size.get("width").getAsInt(), size.get("height").getAsInt()));
    }
    return sizes;
  }

  /** All sizes of the vectors, counted by the real encoder before and after. */
  @ParameterizedTest
  @ValueSource(ints = {Geometry.DEFAULT_MAX_PIXELS, 262_144})
  void theServiceCountsAFittedSizeAsTheOriginal(int maxPixels, House house) {
    int shrunk = 0;
    try (FoveaEncoder encoder = FoveaEncoder.connect(house.encoder.address)) {
      Fit fit = new Fit(encoder.info().geometry(), maxPixels);
      for (Size size : vectorSizes()) {
        var target = fit.target(size.width(), size.height());
        if (target.isPresent()) {
          shrunk++;
          assertTrue(target.get().width() <= size.width(), size::toString);
          assertTrue(target.get().height() <= size.height(), size::toString);
          int before = tokens(encoder, size, maxPixels);
          assertEquals(before, tokens(encoder, target.get(), maxPixels), 1, size.toString());
        }
      }
    }
    assertTrue(shrunk > 120, shrunk + " sizes were shrunk");
  }

  @Test
  void aPictureIsFittedToSidesAndTokens() throws IOException {
    var bounds = Budget.with().maxShortSide(768).maxLongSide(900).build();
    Fit fit = new Fit(Geometry.STANDARD, bounds);
    assertEquals(new Size(896, 672), fit.target(1600, 1200).orElseThrow());
    Fit fewer = new Fit(Geometry.STANDARD, bounds.but().maxVisualTokens(255).build());
    assertEquals(new Size(576, 448), fewer.target(1600, 1200).orElseThrow());
    var small = read(fewer.shrink(Pictures.file(Pictures.ramp(1600, 1200), "jpeg")));
    assertEquals(new Size(576, 448), new Size(small.getWidth(), small.getHeight()));
    Fit least = new Fit(Geometry.STANDARD, Budget.with().maxVisualTokens(1).build());
    assertEquals(least.target(1600, 1200), new Fit(Geometry.STANDARD, 65_536).target(1600, 1200));
  }

  private static int tokens(FoveaEncoder encoder, Size size, int maxPixels) {
    return encoder.countTokens(size.width(), size.height(), OptionalInt.of(maxPixels)).tokens();
  }

  /** Real files, put and counted by the real decoder before and after. */
  @ParameterizedTest
  @CsvSource({
    "1600,1200,jpeg,1",
    "1600,1200,png,1",
    "1145,1145,jpeg,1",
    "3000,700,jpeg,6",
    "1210,1810,jpeg,8"
  })
  void aFittedFileIsSmallerAndCostsTheSame(
      int width, int height, String format, int orientation, House house) {
    byte[] file =
        format.equals("jpeg")
            ? Pictures.turnedJpeg(Pictures.ramp(width, height), orientation)
            : Pictures.file(Pictures.ramp(width, height), format);
    Image original = Image.of(file);
    Image fitted = original.fit();
    try (Fovea fovea = Fovea.connect(house.decoder.address)) {
      ImageFacts before = fovea.put(original).facts();
      ImageFacts after = fovea.put(fitted).facts();
      assertTrue(after.byteSize() < before.byteSize());
      assertEquals(before.format(), after.format());
      assertEquals(orientation, before.exifOrientation());
      assertEquals(1, after.exifOrientation());
      Count count = fovea.countTokens(Question.of("?", original));
      assertEquals(count.images().get(0).planned(), after.size());
      assertEquals(
          count.visualTokens(), fovea.countTokens(Question.of("?", fitted)).visualTokens(), 1);
    }
  }

  /** Where the red corner of a lying picture stands once a viewer has turned it. */
  @ParameterizedTest
  @CsvSource({"1,0,0", "2,1,0", "3,1,1", "4,0,1", "5,0,0", "6,1,0", "7,1,1", "8,0,1"})
  void everyOrientationComesOutUpright(int orientation, int right, int bottom) throws IOException {
    var picture = new BufferedImage(640, 480, BufferedImage.TYPE_3BYTE_BGR);
    var graphics = picture.createGraphics();
    graphics.setColor(Color.GREEN);
    graphics.fillRect(0, 0, 640, 480);
    graphics.setColor(Color.RED);
    graphics.fillRect(0, 0, 100, 100);
    graphics.dispose();
    byte[] file = Pictures.turnedJpeg(picture, orientation);
    BufferedImage small = read(SMALL.shrink(file));
    assertEquals(orientation > 4, small.getHeight() > small.getWidth());
    int x = right * (small.getWidth() - 1);
    int y = bottom * (small.getHeight() - 1);
    Color corner = new Color(small.getRGB(x, y));
    assertTrue(corner.getRed() > 200 && corner.getGreen() < 60, corner::toString);
  }

  /** Orientation 5 mirrors along the other diagonal than 7: the corner alone does not tell 5 from 1. */
  @Test
  void aTransposedPictureGrowsBrighterDownwards() throws IOException {
    BufferedImage small = read(SMALL.shrink(Pictures.turnedJpeg(Pictures.ramp(640, 480), 5)));
    int end = small.getHeight() - 1;
    assertTrue(new Color(small.getRGB(5, end)).getRed() > new Color(small.getRGB(5, 0)).getRed() + 100);
  }

  @Test
  void theColoursStay() throws IOException {
    byte[] fitted = SMALL.shrink(Pictures.file(Pictures.ramp(1024, 1024), "png"));
    BufferedImage small = read(fitted);
    BufferedImage expected = Pictures.ramp(256, 256);
    assertEquals(256, small.getWidth());
    for (int at = 4; at < 252; at += 31) {
      Color got = new Color(small.getRGB(at, 255 - at));
      Color want = new Color(expected.getRGB(at, 255 - at));
      assertEquals(want.getRed(), got.getRed(), 3);
      assertEquals(want.getGreen(), got.getGreen(), 3);
    }
  }

  @Test
  void greyStaysAsGreyAsItWas() throws IOException {
    var grey = new BufferedImage(600, 600, BufferedImage.TYPE_BYTE_GRAY);
    for (int at = 0; at < 600 * 600; at++) {
      grey.getRaster().setSample(at % 600, at / 600, 0, 100);
    }
    BufferedImage small = read(SMALL.shrink(Pictures.file(grey, "png")));
    assertEquals(new Color(100, 100, 100), new Color(small.getRGB(100, 100)));
  }

  @Test
  void whatIsTransparentLiesOnWhite() throws IOException {
    var clear = new BufferedImage(600, 600, BufferedImage.TYPE_INT_ARGB);
    for (int y = 0; y < 300; y++) {
      for (int x = 0; x < 600; x++) {
        clear.setRGB(x, y, 0xff0000ff);
      }
    }
    BufferedImage small = read(SMALL.shrink(Pictures.file(clear, "png")));
    assertEquals(Color.BLUE, new Color(small.getRGB(100, 10)));
    assertEquals(Color.WHITE, new Color(small.getRGB(100, 240)));
  }

  @Test
  void aGifBecomesAPng() throws IOException {
    byte[] fitted = SMALL.shrink(Pictures.file(Pictures.noise(900, 900, 3), "gif"));
    assertEquals("png", FileHead.format(fitted));
    assertEquals(256, read(fitted).getWidth());
  }

  @Test
  void filesThatStayAsTheyAre() {
    byte[] small = Pictures.png(60, 40, 1);
    byte[] exact = Pictures.png(256, 256, 1);
    byte[] webp = "RIFF\4\0\0\0WEBP".getBytes(StandardCharsets.ISO_8859_1);
    byte[] damaged = Pictures.hollowPng(900, 900);
    byte[] ninth = Pictures.turnedJpeg(Pictures.ramp(640, 480), 9);
    byte[] elsewhere = Pictures.jpegWith(Pictures.ramp(640, 480), "<x tiff:Orientation='6'/>");
    byte[] thin = Pictures.file(Pictures.ramp(20_000, 100), "png");
    for (byte[] file :
        new byte[][] {small, exact, webp, damaged, ninth, elsewhere, thin, new byte[0]}) {
      assertSame(file, SMALL.shrink(file));
    }
    byte[] plain = Pictures.file(Pictures.ramp(640, 480), "jpeg");
    assertNotSame(plain, SMALL.shrink(plain));
  }

  /** The decoder fills in what is missing, and the service would not know. */
  @Test
  void aPictureWithMissingPartsStaysAsItIs() {
    byte[] jpeg = Pictures.file(Pictures.noise(900, 900, 3), "jpeg");
    byte[] progressive = Pictures.file(Pictures.noise(900, 900, 3), "jpeg", true);
    byte[] gif = Pictures.file(Pictures.noise(900, 900, 3), "gif");
    byte[] png = Pictures.png(900, 900, 3);
    for (byte[] whole : new byte[][] {jpeg, progressive, gif, png}) {
      assertNotSame(whole, SMALL.shrink(whole));
    }
    for (double share : new double[] {0.5, 0.8, 0.99}) {
      for (byte[] whole : new byte[][] {jpeg, progressive, gif, png}) {
        byte[] cut = Pictures.cut(whole, share);
        assertSame(cut, SMALL.shrink(cut));
      }
      byte[] closed = Pictures.cut(jpeg, share, 0xff, 0xd9);
      assertSame(closed, SMALL.shrink(closed));
      byte[] closedGif = Pictures.cut(gif, share, 0, ';');
      assertSame(closedGif, SMALL.shrink(closedGif));
    }
  }

  /** A file that ends between two scans holds no damaged data. */
  @Test
  void aProgressivePictureNeedsEachOfItsScans() {
    byte[] whole = Pictures.file(Pictures.noise(900, 900, 3), "jpeg", true);
    int scans = 0;
    for (int at = 0; at + 1 < whole.length; at++) {
      if (whole[at] == (byte) 0xff && whole[at + 1] == (byte) 0xda && scans++ > 0) {
        byte[] cut = Pictures.cut(whole, (at + 0.5) / whole.length, 0xff, 0xd9);
        assertSame(cut, SMALL.shrink(cut), "without scan " + scans);
      }
    }
    assertTrue(scans > 3, scans + " scans");
  }

  /** In the text of a PNG, where ImageMagick and others write it. */
  @Test
  void anOrientationInATextIsLeftToTheService() {
    byte[] png = Pictures.png(900, 900, 3);
    String profile = "\nexif\n 26\n49492a0008000000010012010300010000000600000000000000\n";
    String xmp = "<x tiff:Orientation='6'/>";
    byte[][] texts = {
      Pictures.pngWith(png, "zTXt", Pictures.compressed("Raw profile type exif\0\0", profile)),
      Pictures.pngWith(png, "zTXt", Pictures.compressed("Raw profile type APP1\0\0", profile)),
      Pictures.pngWith(png, "iTXt", Pictures.compressed("XML:com.adobe.xmp\0\1\0\0\0", xmp)),
      Pictures.pngWith(png, "iTXt", ("XML:com.adobe.xmp\0\0\0\0\0" + xmp).getBytes(StandardCharsets.US_ASCII)),
    };
    byte[] empty = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 0};
    for (byte[] file : texts) {
      assertSame(file, SMALL.shrink(file));
      byte[] behindExif = Pictures.pngWith(file, "eXIf", empty);
      assertSame(behindExif, SMALL.shrink(behindExif));
    }
    byte[] harmless = Pictures.pngWith(png, "zTXt", Pictures.compressed("Comment\0\0", "hello"));
    assertNotSame(harmless, SMALL.shrink(harmless));
  }

  @Test
  void xmpIsLookedAtWhereExifSaysNothing() {
    String empty = "Exif\0\0MM\0*\0\0\0\10\0\0";
    byte[] inner = Pictures.jpegWith(Pictures.ramp(640, 480), "<x tiff:Orientation='6'/>");
    byte[] segment = ("\u00ff\u00e1\0" + (char) (2 + empty.length()) + empty).getBytes(StandardCharsets.ISO_8859_1);
    byte[] file = new byte[inner.length + segment.length];
    System.arraycopy(inner, 0, file, 0, 2);
    System.arraycopy(segment, 0, file, 2, segment.length);
    System.arraycopy(inner, 2, file, 2 + segment.length, inner.length - 2);
    assertSame(file, SMALL.shrink(file));
  }

  /** Readers compare it by different bytes; the service does it as the specification says. */
  @Test
  void aTransparentColorIsLeftToTheService() {
    byte[] file = Pictures.pngWith(Pictures.png(900, 900, 3), "tRNS", new byte[6]);
    assertSame(file, SMALL.shrink(file));
  }

  @Test
  void aFileThatWouldGrowStaysAsItIs() throws IOException {
    var flat = new BufferedImage(260, 260, BufferedImage.TYPE_BYTE_BINARY);
    var bytes = new java.io.ByteArrayOutputStream();
    ImageIO.write(flat, "png", bytes);
    byte[] file = bytes.toByteArray();
    assertTrue(SMALL.target(260, 260).isPresent());
    assertSame(file, SMALL.shrink(file));
  }

  @Test
  void anImageFitsWhereverItComesFrom() {
    byte[] file = Repository.bytes(Repository.sample("scene.jpg"));
    Fit tiny = new Fit(SMALL.geometry(), 96 * 96);
    Image.Bytes fromPath = (Image.Bytes) Image.of(Repository.sample("scene.jpg")).fit(tiny);
    Image.Bytes fromBytes = (Image.Bytes) Image.of(file).fit(tiny);
    assertTrue(fromPath.data().length < file.length);
    assertArrayEquals(fromPath.data(), fromBytes.data());
    Image stored = Image.stored("sha256:" + "0".repeat(64));
    assertSame(stored, stored.fit());
  }
}
