package dev.fovea.client;

import dev.fovea.decoder.v1.CountTokensRequest;
import dev.fovea.decoder.v1.CountTokensResponse;
import dev.fovea.decoder.v1.DecoderServiceGrpc;
import dev.fovea.decoder.v1.DeleteImageRequest;
import dev.fovea.decoder.v1.DeleteImageResponse;
import dev.fovea.decoder.v1.DescribeImageRequest;
import dev.fovea.decoder.v1.DescribeImageResponse;
import dev.fovea.decoder.v1.GenerateRequest;
import dev.fovea.decoder.v1.GenerateResponse;
import dev.fovea.decoder.v1.PurgeTenantRequest;
import dev.fovea.decoder.v1.PurgeTenantResponse;
import dev.fovea.decoder.v1.PutImageRequest;
import dev.fovea.decoder.v1.PutImageResponse;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerCredentials;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.BiConsumer;

/**
 * A decoder in this process that behaves as a test says, for what no real one does on demand. It
 * takes messages of 32 MiB, as the real ones do, and knows no image until it was put.
 */
final class FakeDecoder extends DecoderServiceGrpc.DecoderServiceImplBase implements AutoCloseable {
  final List<String> calls = new CopyOnWriteArrayList<>();
  final List<String> deleted = new CopyOnWriteArrayList<>();
  final List<byte[]> uploads = new CopyOnWriteArrayList<>();
  final List<GenerateRequest> asked = new CopyOnWriteArrayList<>();
  final List<Metadata> headers = new CopyOnWriteArrayList<>();
  /** The ends of the next calls, whatever they are; each after the whole request has come. */
  final List<StatusRuntimeException> failures = new CopyOnWriteArrayList<>();

  BiConsumer<GenerateRequest, StreamObserver<GenerateResponse>> generate =
      (request, out) -> out.onCompleted();

  final FakeUsage usage = new FakeUsage();

  private final Server server;
  private final int port;

  FakeDecoder() {
    this(InsecureServerCredentials.create());
  }

  FakeDecoder(ServerCredentials credentials) {
    try {
      server =
          Grpc.newServerBuilderForPort(0, credentials)
              .maxInboundMessageSize(32 << 20)
              .addService(this)
              .addService(usage)
              .intercept(new Listening())
              .build()
              .start();
      port = server.getPort();
    } catch (IOException failed) {
      throw new UncheckedIOException(failed);
    }
  }

  String address() {
    return "localhost:" + server.getPort();
  }

  /** As it stands in a list of several. */
  String numericAddress() {
    return "127.0.0.1:" + port;
  }

  @Override
  public void close() {
    server.shutdownNow();
  }

  @Override
  public void generate(GenerateRequest request, StreamObserver<GenerateResponse> out) {
    asked.add(request);
    if (!fails(out)) {
      generate.accept(request, out);
    }
  }

  @Override
  public void countTokens(CountTokensRequest request, StreamObserver<CountTokensResponse> out) {
    asked.add(request.getRequest());
    if (!fails(out)) {
      out.onNext(CountTokensResponse.newBuilder().setPromptTokens(1).setQuote(quote()).build());
      out.onCompleted();
    }
  }

  private static dev.fovea.decoder.v1.Quote quote() {
    var expires = com.google.protobuf.Timestamp.newBuilder().setSeconds(1_700_000_000);
    return dev.fovea.decoder.v1.Quote.newBuilder()
        .setToken("signed")
        .setMaxTokens(65)
        .setMaxAmount(0.5)
        .setCurrency("EUR")
        .setExpireTime(expires)
        .build();
  }

  @Override
  public void deleteImage(DeleteImageRequest request, StreamObserver<DeleteImageResponse> out) {
    deleted.add(request.getDigest());
    out.onNext(DeleteImageResponse.newBuilder().addAllEncoders(deletions()).build());
    out.onCompleted();
  }

  @Override
  public void purgeTenant(PurgeTenantRequest request, StreamObserver<PurgeTenantResponse> out) {
    deleted.add(request.getTenant());
    out.onNext(PurgeTenantResponse.newBuilder().addAllEncoders(deletions()).build());
    out.onCompleted();
  }

  /** Two encoders, of which only the first confirms. */
  private static List<dev.fovea.decoder.v1.EncoderDeletion> deletions() {
    var deletion = dev.fovea.decoder.v1.EncoderDeletion.newBuilder();
    return List.of(
        deletion.setEncoder("a:1").setConfirmed(true).setUploads(1).setRecords(2).setErasure(dev.fovea.vision.v1.Erasure.ERASURE_AFTER_COMPACTION).build(),
        deletion.clear().setEncoder("b:1").setReason("ENCODER_UNAVAILABLE").build());
  }

  @Override
  public void describeImage(
      DescribeImageRequest request, StreamObserver<DescribeImageResponse> out) {
    boolean held = uploads.stream().anyMatch(u -> Upload.of(u).digest().equals(request.getDigest()));
    if (!held) {
      out.onError(Details.of(Status.Code.NOT_FOUND, "IMAGE_NOT_STORED"));
      return;
    }
    out.onNext(DescribeImageResponse.getDefaultInstance());
    out.onCompleted();
  }

  @Override
  public StreamObserver<PutImageRequest> putImage(StreamObserver<PutImageResponse> out) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    return new StreamObserver<>() {
      @Override
      public void onNext(PutImageRequest piece) {
        bytes.writeBytes(piece.getData().toByteArray());
      }

      @Override
      public void onError(Throwable left) {
        calls.add("left");
      }

      @Override
      public void onCompleted() {
        if (!fails(out)) {
          uploads.add(bytes.toByteArray());
          out.onNext(PutImageResponse.getDefaultInstance());
          out.onCompleted();
        }
      }
    };
  }

  private boolean fails(StreamObserver<?> out) {
    if (failures.isEmpty()) {
      return false;
    }
    out.onError(failures.remove(0));
    return true;
  }

  private final class Listening implements ServerInterceptor {
    @Override
    public <Q, A> ServerCall.Listener<Q> interceptCall(
        ServerCall<Q, A> call, Metadata sent, ServerCallHandler<Q, A> next) {
      calls.add(call.getMethodDescriptor().getBareMethodName());
      headers.add(sent);
      return next.startCall(call, sent);
    }
  }
}
