package dev.fovea.client;

import com.google.protobuf.ProtocolMessageEnum;
import com.google.protobuf.Timestamp;
import dev.fovea.decoder.v1.GenerateResponse;
import dev.fovea.decoder.v1.ReceiptImage;
import dev.fovea.encoder.v1.EncodeTimings;
import dev.fovea.vision.v1.GridThw;
import java.time.Instant;
import java.util.Optional;
import java.util.OptionalInt;

/** From the messages of both services to the client's values. Calls nobody. */
final class Convert {
  private static final int LAYOUT_VERSION = 1;

  private Convert() {}

  /** Null for an event that a later server sends and this client does not know. */
  static Event event(GenerateResponse message) {
    return switch (message.getEventCase()) {
      case STARTED -> {
        var event = message.getStarted();
        yield new Event.Started(
            event.getRequestId(),
            event.getModel(),
            event.getPromptTokens(),
            event.getVisualTokens());
      }
      case DELTA -> {
        var event = message.getDelta();
        yield new Event.Text(event.getText(), event.getTokenIdsList(), event.getLogprobsList());
      }
      case FINISHED -> {
        var event = message.getFinished();
        yield new Event.Finished(
            value(FinishReason.class, event.getFinishReason(), FinishReason.UNKNOWN),
            event.getMatchedStop(),
            receipt(event.getReceipt()));
      }
      case EVENT_NOT_SET -> null;
    };
  }

  static Receipt receipt(dev.fovea.decoder.v1.Receipt message) {
    var totals = message.getTotals();
    var ms = message.getStagesMs();
    return new Receipt(
        message.getImagesList().stream().map(Convert::image).toList(),
        new Receipt.Totals(
            totals.getVisualTokens(),
            totals.getNaiveVisualTokens(),
            totals.getTextTokens(),
            totals.getCachedPromptTokens(),
            totals.getOutputTokens(),
            totals.getEncodes(),
            totals.getWireBytes()),
        new Receipt.Stages(
            ms.getQueue(),
            ms.getEncode(),
            ms.getTransfer(),
            ms.getPrefill(),
            ms.getTtft(),
            ms.getDecode(),
            ms.getTotal()),
        new Receipt.Tier(message.getTier().getPathList(), message.getTier().getReason()),
        new Receipt.Price(message.getPrice().getAmount(), message.getPrice().getCurrency()));
  }

  private static Receipt.Image image(ReceiptImage message) {
    return new Receipt.Image(
        message.getDigest(),
        size(message.getOriginal()),
        size(message.getPlanned()),
        grid(message.getGrid()),
        message.getPatches(),
        message.getTokensFull(),
        message.getTokens(),
        message.getStepsList().stream()
            .map(s -> new Receipt.Step(s.getName(), s.getBefore(), s.getAfter(), s.getReason()))
            .toList(),
        value(RowSource.class, message.getSource(), RowSource.NONE),
        message.getEncoder(),
        value(RowDtype.class, message.getDtype(), RowDtype.UNKNOWN),
        Integer.toUnsignedLong(message.getRowBytes()),
        Integer.toUnsignedLong(message.getWireBytes()),
        message.getRowsDigest(),
        message.hasRepeatOf() ? OptionalInt.of(message.getRepeatOf()) : OptionalInt.empty());
  }

  static ImageFacts facts(dev.fovea.vision.v1.ImageFacts message) {
    return new ImageFacts(
        message.getDigest(),
        message.getPixelDigest(),
        value(ImageFormat.class, message.getFormat(), ImageFormat.UNKNOWN),
        Integer.toUnsignedLong(message.getByteSize()),
        size(message.getSize()),
        message.getExifOrientation(),
        message.getHadAlpha());
  }

  static Instant instant(Timestamp message) {
    return Instant.ofEpochSecond(message.getSeconds(), message.getNanos());
  }

  static TokenCount tokenCount(dev.fovea.vision.v1.TokenCount message) {
    return new TokenCount(
        size(message.getOriginal()),
        size(message.getPlanned()),
        grid(message.getGrid()),
        message.getPatches(),
        message.getTokens(),
        Integer.toUnsignedLong(message.getRowBytes()));
  }

  static Count count(dev.fovea.decoder.v1.CountTokensResponse message) {
    return new Count(
        message.getPromptTokens(),
        message.getTextTokens(),
        message.getVisualTokens(),
        message.getImagesList().stream().map(Convert::tokenCount).toList(),
        message.getKvBytes(),
        message.getFitsContext());
  }

  static Size size(dev.fovea.vision.v1.Size message) {
    return new Size(message.getWidth(), message.getHeight());
  }

  static Grid grid(GridThw message) {
    return new Grid(message.getT(), message.getH(), message.getW());
  }

  /** Empty where the sender speaks a layout that this client does not know, or contradicts itself. */
  static Optional<RowLayout> layout(dev.fovea.vision.v1.RowLayout message) {
    RowDtype dtype = value(RowDtype.class, message.getDtype(), RowDtype.UNKNOWN);
    RowLayout layout = new RowLayout(message.getWidth(), message.getLevels(), dtype);
    boolean known = dtype != RowDtype.UNKNOWN && message.getVersion() == LAYOUT_VERSION;
    return known && layout.rowBytes() == message.getRowBytes()
        ? Optional.of(layout)
        : Optional.empty();
  }

  static Rows.Timings timings(EncodeTimings message) {
    return new Rows.Timings(
        message.getQueueMs(),
        message.getDecodeMs(),
        message.getPreprocessMs(),
        message.getTowerMs(),
        message.getStoreMs(),
        message.getTotalMs());
  }

  static DecoderInfo info(dev.fovea.decoder.v1.GetServerInfoResponse message) {
    var limits = message.getLimits();
    var load = message.getLoad();
    return new DecoderInfo(
        message.getVersion(),
        message.getModel(),
        message.getFingerprint(),
        layout(message.getLayout()),
        new DecoderInfo.Limits(
            Integer.toUnsignedLong(limits.getMaxMessageBytes()),
            limits.getMaxContext(),
            limits.getMaxNewTokens(),
            limits.getDefaultMaxNewTokens(),
            limits.getMaxImages(),
            limits.getDefaultMaxPixels(),
            limits.getMaxPixels(),
            limits.getMinPixels(),
            limits.getMaxRunning(),
            limits.getMaxWaiting(),
            limits.getMaxStopStrings(),
            Integer.toUnsignedLong(limits.getMaxImageBytes()),
            Integer.toUnsignedLong(limits.getMaxFormatBytes())),
        new DecoderInfo.Load(
            load.getWaiting(), load.getRunning(), load.getKvBlocksUsed(), load.getKvBlocks()),
        message.getFeaturesList(),
        value(ServingState.class, message.getState(), ServingState.UNKNOWN),
        message.getLoadingProgress(),
        message.getEngine(),
        message.getAttention(),
        message.getDtype(),
        message.getEncodersList().stream().map(Convert::encoder).toList(),
        Integer.toUnsignedLong(message.getKvBytesPerToken()));
  }

  private static DecoderInfo.Encoder encoder(dev.fovea.decoder.v1.EncoderPeer message) {
    return new DecoderInfo.Encoder(
        message.getAddress(),
        message.getName(),
        message.getReachable(),
        message.getFingerprint(),
        message.getCompatible(),
        message.getWaiting(),
        message.getRunning(),
        Integer.toUnsignedLong(message.getEncodes()));
  }

  static EncoderInfo info(dev.fovea.encoder.v1.GetServerInfoResponse message) {
    var limits = message.getLimits();
    var load = message.getLoad();
    return new EncoderInfo(
        message.getVersion(),
        message.getName(),
        message.getModel(),
        message.getFingerprint(),
        layout(message.getLayout()),
        new EncoderInfo.Limits(
            Integer.toUnsignedLong(limits.getMaxMessageBytes()),
            Integer.toUnsignedLong(limits.getMaxImageBytes()),
            limits.getMaxImagePixels(),
            limits.getMaxImageSide(),
            limits.getMaxImageAspect(),
            limits.getMaxJpegScans(),
            limits.getDefaultMaxPixels(),
            limits.getMaxPixels(),
            limits.getMinPixels(),
            limits.getMaxBatchPatches(),
            limits.getMaxQueue(),
            limits.getCacheBytes(),
            limits.getUploadsBytes()),
        new EncoderInfo.Load(
            load.getWaiting(), load.getRunning(), Integer.toUnsignedLong(load.getEncodes())),
        message.getFeaturesList(),
        value(ServingState.class, message.getState(), ServingState.UNKNOWN),
        message.getLoadingProgress(),
        message.getDevice(),
        message.getDtype());
  }

  static CacheStats stats(dev.fovea.encoder.v1.GetCacheStatsResponse message) {
    return new CacheStats(
        Integer.toUnsignedLong(message.getRecords()),
        message.getRecordBytes(),
        message.getRecordCapacityBytes(),
        Integer.toUnsignedLong(message.getUploads()),
        message.getUploadBytes(),
        message.getUploadCapacityBytes(),
        Integer.toUnsignedLong(message.getHits()),
        Integer.toUnsignedLong(message.getMisses()),
        Integer.toUnsignedLong(message.getEvictions()),
        Integer.toUnsignedLong(message.getFailedChecks()),
        Integer.toUnsignedLong(message.getSkippedPuts()));
  }

  /** The value whose name ends the message's own, as ENCODED ends ROW_SOURCE_ENCODED. */
  static <E extends Enum<E>> E value(Class<E> type, ProtocolMessageEnum message, E unknown) {
    for (E value : type.getEnumConstants()) {
      if (message.toString().endsWith("_" + value.name())) {
        return value;
      }
    }
    return unknown;
  }
}
