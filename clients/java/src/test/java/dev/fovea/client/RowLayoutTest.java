package dev.fovea.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Map;
import org.junit.jupiter.api.Test;

/** The bytes of a row are those of its values and of its scales. */
class RowLayoutTest {
  private static final Map<RowDtype, Integer> BYTES =
      Map.of(
          RowDtype.BF16, 16384,
          RowDtype.FP16, 16384,
          RowDtype.FP32, 32768,
          RowDtype.FP8, 8192 + 4 * 4,
          RowDtype.INT8, 8192 + 4 * 128);

  @Test
  void aLayoutIsKnownWhereItsBytesFit() {
    BYTES.forEach(
        (dtype, bytes) -> {
          assertEquals(bytes, new RowLayout(2048, 3, dtype).rowBytes());
          assertEquals(dtype, Convert.layout(message(dtype, 2048, 3, bytes)).orElseThrow().dtype());
          assertTrue(Convert.layout(message(dtype, 2048, 3, bytes - 4)).isEmpty());
        });
  }

  @Test
  void aLevelThatGroupsDoNotDivideIsUnknown() {
    assertTrue(Convert.layout(message(RowDtype.INT8, 96, 0, 96 + 2 * 4)).isEmpty());
  }

  private static dev.fovea.vision.v1.RowLayout message(
      RowDtype dtype, int width, int levels, int bytes) {
    return dev.fovea.vision.v1.RowLayout.newBuilder()
        .setVersion(1)
        .setWidth(width)
        .setLevels(levels)
        .setDtype(dev.fovea.vision.v1.RowDtype.valueOf("ROW_DTYPE_" + dtype.name()))
        .setRowBytes(bytes)
        .build();
  }
}
