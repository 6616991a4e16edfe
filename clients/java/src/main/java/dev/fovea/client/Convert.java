package dev.fovea.client;

import com.google.protobuf.ByteString;
import com.google.protobuf.ProtocolMessageEnum;
import com.google.protobuf.Timestamp;
import dev.fovea.decoder.v1.Alternative;
import dev.fovea.decoder.v1.GenerateResponse;
import dev.fovea.decoder.v1.ImagePlan;
import dev.fovea.decoder.v1.ReceiptImage;
import dev.fovea.decoder.v1.ReceiptPrice;
import dev.fovea.decoder.v1.ReceiptStep;
import dev.fovea.decoder.v1.TopLogprobs;
import dev.fovea.decoder.v1.VisualBudget;
import dev.fovea.encoder.v1.EncodePlan;
import dev.fovea.encoder.v1.EncodeRequest;
import dev.fovea.encoder.v1.EncodeTimings;
import dev.fovea.encoder.v1.PlaceRowsResponse;
import dev.fovea.encoder.v1.RowChoice;
import dev.fovea.vision.v1.GridThw;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/** Converts messages of both services to values of the client. Makes no calls. */
final class Convert {
  private static final int LAYOUT_VERSION = 1;

  private Convert() {}

  /** Null for an event of a later server that this client does not know. */
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
        yield new Event.Text(
            event.getText(),
            event.getTokenIdsList(),
            event.getLogprobsList(),
            event.getTokenBytesList().stream().map(ByteString::asReadOnlyByteBuffer).toList(),
            event.getTopLogprobsList().stream().map(Convert::top).toList(),
            event.getReasoning(),
            event.getToolCallsList().stream().map(Convert::toolCallDelta).toList());
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

  private static List<TokenLogprob> top(TopLogprobs message) {
    return message.getTokensList().stream().map(Convert::tokenLogprob).toList();
  }

  private static TokenLogprob tokenLogprob(dev.fovea.decoder.v1.TokenLogprob message) {
    return new TokenLogprob(
        message.getTokenId(), message.getLogprob(), message.getToken().asReadOnlyByteBuffer());
  }

  private static ToolCall.Delta toolCallDelta(dev.fovea.decoder.v1.ToolCallDelta message) {
    return new ToolCall.Delta(
        message.getIndex(), message.getId(), message.getName(), message.getArguments());
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
            totals.getWireBytes(),
            totals.getRowBytes(),
            totals.getPatches(),
            totals.getNaivePatches()),
        new Receipt.Stages(
            ms.getQueue(),
            ms.getEncode(),
            ms.getTransfer(),
            ms.getPrefill(),
            ms.getTtft(),
            ms.getDecode(),
            ms.getTotal()),
        new Receipt.Tier(
            message.getTier().getPathList(),
            message.getTier().getReason(),
            message.getTier().getReasonsList()),
        price(message.getPrice()),
        message.getDegraded());
  }

  private static Receipt.Price price(ReceiptPrice message) {
    return new Receipt.Price(
        message.getAmount(), message.getCurrency(), message.getNaiveAmount());
  }

  private static Receipt.Step step(ReceiptStep message) {
    return new Receipt.Step(
        message.getName(), message.getBefore(), message.getAfter(), message.getReason());
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
        message.getStepsList().stream().map(Convert::step).toList(),
        value(RowSource.class, message.getSource(), RowSource.NONE),
        message.getEncoder(),
        value(RowDtype.class, message.getDtype(), RowDtype.UNKNOWN),
        Integer.toUnsignedLong(message.getRowBytes()),
        Integer.toUnsignedLong(message.getWireBytes()),
        message.getRowsDigest(),
        message.hasRepeatOf() ? OptionalInt.of(message.getRepeatOf()) : OptionalInt.empty(),
        value(ImageKind.class, message.getKind(), ImageKind.UNKNOWN));
  }

  static ImageFacts facts(dev.fovea.vision.v1.ImageFacts message) {
    return new ImageFacts(
        message.getDigest(),
        message.getPixelDigest(),
        value(ImageFormat.class, message.getFormat(), ImageFormat.UNKNOWN),
        Integer.toUnsignedLong(message.getByteSize()),
        size(message.getSize()),
        message.getExifOrientation(),
        message.getHadAlpha(),
        message.getTextHeight(),
        message.getEdgeDensity(),
        message.getUniformShare(),
        value(ImageKind.class, message.getKind(), ImageKind.UNKNOWN),
        message.getKindConfidence());
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
        message.getFitsContext(),
        message.getExact(),
        message.getVisualTokensMin(),
        message.getRowBytes(),
        message.getPrefillFlops(),
        message.getPrefillMs(),
        message.getPlansList().stream().map(Convert::plan).toList(),
        message.getAlternativesList().stream().map(Convert::alternative).toList(),
        message.hasQuote() ? Optional.of(quote(message.getQuote())) : Optional.empty());
  }

  private static Quote quote(dev.fovea.decoder.v1.Quote message) {
    return new Quote(
        message.getToken(),
        Integer.toUnsignedLong(message.getMaxTokens()),
        message.getMaxAmount(),
        message.getCurrency(),
        instant(message.getExpireTime()));
  }

  private static Count.Plan plan(ImagePlan message) {
    return new Count.Plan(
        message.getStepsList().stream().map(Convert::step).toList(),
        message.getTokens(),
        message.getTokensMin(),
        message.hasRepeatOf() ? OptionalInt.of(message.getRepeatOf()) : OptionalInt.empty());
  }

  private static Count.Alternative alternative(Alternative message) {
    return new Count.Alternative(
        message.getName(),
        budget(message.getVisual()),
        message.getVisualTokens(),
        message.getVisualTokensMin(),
        message.getExact(),
        message.getRowBytes(),
        message.getKvBytes(),
        message.getPrefillFlops(),
        message.getFitsContext());
  }

  static Budget budget(VisualBudget message) {
    var reduction = message.getReduction();
    return new Budget(
        message.hasMaxPixels() ? message.getMaxPixels() : null,
        message.getMaxVisualTokens(),
        value(Budget.Detail.class, message.getDetail(), null),
        value(Budget.Detail.class, message.getMinDetail(), null),
        value(Budget.OnOverBudget.class, message.getOnOverBudget(), null),
        value(Budget.RepeatPolicy.class, message.getRepeatPolicy(), null),
        new Budget.Reduction(
            reduction.hasKeep() ? (double) reduction.getKeep() : null,
            value(Budget.Mode.class, reduction.getMode(), null),
            value(Reducer.class, reduction.getReducer(), null),
            reduction.hasFlatTolerance() ? reduction.getFlatTolerance() : null,
            reduction.hasNearRepeats() ? (double) reduction.getNearRepeats() : null),
        message.getMinTokens(),
        message.getMaxShortSide(),
        message.getMaxLongSide());
  }

  static Placed placed(PlaceRowsResponse message) {
    var header = message.getHeader();
    return new Placed(
        message.getKnown(),
        tokenCount(header.getCount()),
        header.getRows(),
        RowAssembly.kept(header),
        List.copyOf(message.getOrderList()),
        value(RowSource.class, header.getSource(), RowSource.NONE),
        header.getEncoder(),
        header.getFingerprint(),
        timings(message.getTimings()));
  }

  static EncodeRequest encodeRequest(String digest, RowPlan plan, String fingerprint) {
    var built = EncodePlan.newBuilder();
    if (plan.maxPixels() != null) {
      built.setMaxPixels(plan.maxPixels());
    }
    if (plan.flatTolerance() != null) {
      built.setFlatTolerance(plan.flatTolerance());
    }
    if (plan.keep() != null || plan.auto() || plan.reducer() != null) {
      var rows = RowChoice.newBuilder().setAuto(plan.auto()).setReducer(reducer(plan.reducer()));
      if (plan.keep() != null) {
        rows.setKeep(plan.keep().floatValue());
      }
      built.setRows(rows);
    }
    return EncodeRequest.newBuilder()
        .setDigest(digest)
        .setPlan(built)
        .setFingerprint(fingerprint)
        .build();
  }

  static dev.fovea.vision.v1.Reducer reducer(Reducer reducer) {
    return message(dev.fovea.vision.v1.Reducer.class, "REDUCER", reducer);
  }

  /** The enum value of the contract, as REDUCER_SCOPE for SCOPE; the unspecified value for null. */
  static <E extends Enum<E>> E message(Class<E> type, String prefix, Enum<?> value) {
    return Enum.valueOf(type, prefix + "_" + (value == null ? "UNSPECIFIED" : value.name()));
  }

  static Size size(dev.fovea.vision.v1.Size message) {
    return new Size(message.getWidth(), message.getHeight());
  }

  static Grid grid(GridThw message) {
    return new Grid(message.getT(), message.getH(), message.getW());
  }

  /** Empty if this client does not know the layout, or if the layout contradicts itself. */
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
            limits.getMaxTools(),
            Integer.toUnsignedLong(limits.getMaxToolBytes()),
            Integer.toUnsignedLong(limits.getMaxImageBytes()),
            Integer.toUnsignedLong(limits.getMaxFormatBytes()),
            limits.getMaxFormatS(),
            limits.getMaxFormatMemoryBytes(),
            limits.getFormatWorkers()),
        new DecoderInfo.Load(
            load.getWaiting(), load.getRunning(), load.getKvBlocksUsed(), load.getKvBlocks()),
        message.getFeaturesList(),
        value(ServingState.class, message.getState(), ServingState.UNKNOWN),
        message.getLoadingProgress(),
        message.getEngine(),
        message.getAttention(),
        message.getDtype(),
        message.getEncodersList().stream().map(Convert::encoder).toList(),
        Integer.toUnsignedLong(message.getKvBytesPerToken()),
        message.getModelNotice());
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

  /** The value whose name ends the contract's name, as ENCODED ends ROW_SOURCE_ENCODED. */
  static <E extends Enum<E>> E value(Class<E> type, ProtocolMessageEnum message, E unknown) {
    for (E value : type.getEnumConstants()) {
      if (message.toString().endsWith("_" + value.name())) {
        return value;
      }
    }
    return unknown;
  }

  static List<EncoderDeletion> deletions(List<dev.fovea.decoder.v1.EncoderDeletion> messages) {
    return messages.stream().map(Convert::deletion).toList();
  }

  private static EncoderDeletion deletion(dev.fovea.decoder.v1.EncoderDeletion message) {
    return new EncoderDeletion(
        message.getEncoder(),
        message.getConfirmed(),
        message.getReason(),
        new Deleted(
            Integer.toUnsignedLong(message.getUploads()),
            Integer.toUnsignedLong(message.getRecords()),
            message.getBytes(),
            erasure(message.getErasure())));
  }

  static Erasure erasure(dev.fovea.vision.v1.Erasure value) {
    return value(Erasure.class, value, Erasure.UNKNOWN);
  }
}
