package dev.fovea.client;

import com.google.protobuf.Timestamp;
import dev.fovea.decoder.v1.Anomaly;
import dev.fovea.decoder.v1.AnomalyKind;
import dev.fovea.decoder.v1.GetUsageRequest;
import dev.fovea.decoder.v1.GetUsageResponse;
import dev.fovea.decoder.v1.ListAnomaliesRequest;
import dev.fovea.decoder.v1.ListAnomaliesResponse;
import dev.fovea.decoder.v1.ListUsageRequest;
import dev.fovea.decoder.v1.ListUsageResponse;
import dev.fovea.decoder.v1.Outcome;
import dev.fovea.decoder.v1.Receipt;
import dev.fovea.decoder.v1.ReceiptTotals;
import dev.fovea.decoder.v1.SummarizeUsageRequest;
import dev.fovea.decoder.v1.SummarizeUsageResponse;
import dev.fovea.decoder.v1.UsageRecord;
import dev.fovea.decoder.v1.UsageServiceGrpc;
import dev.fovea.decoder.v1.UsageSummary;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** A ledger of three records on two pages, which keeps the requests it gets. */
final class FakeUsage extends UsageServiceGrpc.UsageServiceImplBase {
  static final Instant BEGAN = Instant.ofEpochSecond(1_700_000_000, 5000);

  final List<ListUsageRequest> listed = new CopyOnWriteArrayList<>();
  final List<SummarizeUsageRequest> summarized = new CopyOnWriteArrayList<>();
  final List<String> tenants = new CopyOnWriteArrayList<>();

  @Override
  public void listUsage(ListUsageRequest request, StreamObserver<ListUsageResponse> out) {
    listed.add(request);
    var page = ListUsageResponse.newBuilder();
    if (request.getPageToken().isEmpty()) {
      page.addRecords(record("1")).addRecords(record("2")).setNextPageToken("next");
    } else {
      page.addRecords(record("3"));
    }
    out.onNext(page.build());
    out.onCompleted();
  }

  @Override
  public void getUsage(GetUsageRequest request, StreamObserver<GetUsageResponse> out) {
    if (!request.getRequestId().equals("r")) {
      out.onError(Details.of(Status.Code.FAILED_PRECONDITION, "LEDGER_DISABLED"));
      return;
    }
    out.onNext(GetUsageResponse.newBuilder().addRecords(record("1")).build());
    out.onCompleted();
  }

  @Override
  public void summarizeUsage(
      SummarizeUsageRequest request, StreamObserver<SummarizeUsageResponse> out) {
    summarized.add(request);
    var sum =
        UsageSummary.newBuilder()
            .setKey("photo")
            .setRequests(3)
            .setDeadline(3)
            .setVisualTokens(1L << 40)
            .setAmount(0.5)
            .setCurrency("EUR");
    out.onNext(SummarizeUsageResponse.newBuilder().addSummaries(sum).build());
    out.onCompleted();
  }

  @Override
  public void listAnomalies(
      ListAnomaliesRequest request, StreamObserver<ListAnomaliesResponse> out) {
    tenants.add(request.getTenant());
    var anomaly =
        Anomaly.newBuilder()
            .setKind(AnomalyKind.ANOMALY_KIND_NEW_IMAGES)
            .setTenant("acme")
            .setTime(began())
            .setRequestId("r")
            .setUsual(0.25)
            .setValue(1);
    var newer = Anomaly.newBuilder().setKindValue(99);
    var found = ListAnomaliesResponse.newBuilder().addAnomalies(anomaly).addAnomalies(newer);
    out.onNext(found.build());
    out.onCompleted();
  }

  private static UsageRecord record(String id) {
    var totals = ReceiptTotals.newBuilder().setOutputTokens(7);
    return UsageRecord.newBuilder()
        .setId(id)
        .setRequestId("r")
        .setTenant("acme")
        .setStartTime(began())
        .setMethod("Generate")
        .setModel("m")
        .setOutcome(Outcome.OUTCOME_DEADLINE)
        .setReason("DEADLINE_EXCEEDED")
        .setReceipt(Receipt.newBuilder().setTotals(totals))
        .build();
  }

  private static Timestamp began() {
    return Timestamp.newBuilder()
        .setSeconds(BEGAN.getEpochSecond())
        .setNanos(BEGAN.getNano())
        .build();
  }
}
