package dev.fovea.decoder.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Reads the ledger. A tenant sees its own records; tokens of role `operator` see those of all tenants. A record can be
 * read about a second after its request has ended. Fails with LEDGER_DISABLED if the server keeps no ledger, and with
 * LEDGER_UNAVAILABLE while its database does not answer.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class UsageServiceGrpc {

  private UsageServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "fovea.decoder.v1.UsageService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.fovea.decoder.v1.SummarizeUsageRequest,
      dev.fovea.decoder.v1.SummarizeUsageResponse> getSummarizeUsageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "SummarizeUsage",
      requestType = dev.fovea.decoder.v1.SummarizeUsageRequest.class,
      responseType = dev.fovea.decoder.v1.SummarizeUsageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.decoder.v1.SummarizeUsageRequest,
      dev.fovea.decoder.v1.SummarizeUsageResponse> getSummarizeUsageMethod() {
    io.grpc.MethodDescriptor<dev.fovea.decoder.v1.SummarizeUsageRequest, dev.fovea.decoder.v1.SummarizeUsageResponse> getSummarizeUsageMethod;
    if ((getSummarizeUsageMethod = UsageServiceGrpc.getSummarizeUsageMethod) == null) {
      synchronized (UsageServiceGrpc.class) {
        if ((getSummarizeUsageMethod = UsageServiceGrpc.getSummarizeUsageMethod) == null) {
          UsageServiceGrpc.getSummarizeUsageMethod = getSummarizeUsageMethod =
              io.grpc.MethodDescriptor.<dev.fovea.decoder.v1.SummarizeUsageRequest, dev.fovea.decoder.v1.SummarizeUsageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "SummarizeUsage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.SummarizeUsageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.SummarizeUsageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new UsageServiceMethodDescriptorSupplier("SummarizeUsage"))
              .build();
        }
      }
    }
    return getSummarizeUsageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.decoder.v1.ListUsageRequest,
      dev.fovea.decoder.v1.ListUsageResponse> getListUsageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListUsage",
      requestType = dev.fovea.decoder.v1.ListUsageRequest.class,
      responseType = dev.fovea.decoder.v1.ListUsageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.decoder.v1.ListUsageRequest,
      dev.fovea.decoder.v1.ListUsageResponse> getListUsageMethod() {
    io.grpc.MethodDescriptor<dev.fovea.decoder.v1.ListUsageRequest, dev.fovea.decoder.v1.ListUsageResponse> getListUsageMethod;
    if ((getListUsageMethod = UsageServiceGrpc.getListUsageMethod) == null) {
      synchronized (UsageServiceGrpc.class) {
        if ((getListUsageMethod = UsageServiceGrpc.getListUsageMethod) == null) {
          UsageServiceGrpc.getListUsageMethod = getListUsageMethod =
              io.grpc.MethodDescriptor.<dev.fovea.decoder.v1.ListUsageRequest, dev.fovea.decoder.v1.ListUsageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListUsage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.ListUsageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.ListUsageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new UsageServiceMethodDescriptorSupplier("ListUsage"))
              .build();
        }
      }
    }
    return getListUsageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.decoder.v1.GetUsageRequest,
      dev.fovea.decoder.v1.GetUsageResponse> getGetUsageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetUsage",
      requestType = dev.fovea.decoder.v1.GetUsageRequest.class,
      responseType = dev.fovea.decoder.v1.GetUsageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.decoder.v1.GetUsageRequest,
      dev.fovea.decoder.v1.GetUsageResponse> getGetUsageMethod() {
    io.grpc.MethodDescriptor<dev.fovea.decoder.v1.GetUsageRequest, dev.fovea.decoder.v1.GetUsageResponse> getGetUsageMethod;
    if ((getGetUsageMethod = UsageServiceGrpc.getGetUsageMethod) == null) {
      synchronized (UsageServiceGrpc.class) {
        if ((getGetUsageMethod = UsageServiceGrpc.getGetUsageMethod) == null) {
          UsageServiceGrpc.getGetUsageMethod = getGetUsageMethod =
              io.grpc.MethodDescriptor.<dev.fovea.decoder.v1.GetUsageRequest, dev.fovea.decoder.v1.GetUsageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetUsage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.GetUsageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.GetUsageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new UsageServiceMethodDescriptorSupplier("GetUsage"))
              .build();
        }
      }
    }
    return getGetUsageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.decoder.v1.ListAnomaliesRequest,
      dev.fovea.decoder.v1.ListAnomaliesResponse> getListAnomaliesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListAnomalies",
      requestType = dev.fovea.decoder.v1.ListAnomaliesRequest.class,
      responseType = dev.fovea.decoder.v1.ListAnomaliesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.decoder.v1.ListAnomaliesRequest,
      dev.fovea.decoder.v1.ListAnomaliesResponse> getListAnomaliesMethod() {
    io.grpc.MethodDescriptor<dev.fovea.decoder.v1.ListAnomaliesRequest, dev.fovea.decoder.v1.ListAnomaliesResponse> getListAnomaliesMethod;
    if ((getListAnomaliesMethod = UsageServiceGrpc.getListAnomaliesMethod) == null) {
      synchronized (UsageServiceGrpc.class) {
        if ((getListAnomaliesMethod = UsageServiceGrpc.getListAnomaliesMethod) == null) {
          UsageServiceGrpc.getListAnomaliesMethod = getListAnomaliesMethod =
              io.grpc.MethodDescriptor.<dev.fovea.decoder.v1.ListAnomaliesRequest, dev.fovea.decoder.v1.ListAnomaliesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListAnomalies"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.ListAnomaliesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.ListAnomaliesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new UsageServiceMethodDescriptorSupplier("ListAnomalies"))
              .build();
        }
      }
    }
    return getListAnomaliesMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static UsageServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<UsageServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<UsageServiceStub>() {
        @java.lang.Override
        public UsageServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new UsageServiceStub(channel, callOptions);
        }
      };
    return UsageServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static UsageServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<UsageServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<UsageServiceBlockingV2Stub>() {
        @java.lang.Override
        public UsageServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new UsageServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return UsageServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static UsageServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<UsageServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<UsageServiceBlockingStub>() {
        @java.lang.Override
        public UsageServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new UsageServiceBlockingStub(channel, callOptions);
        }
      };
    return UsageServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static UsageServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<UsageServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<UsageServiceFutureStub>() {
        @java.lang.Override
        public UsageServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new UsageServiceFutureStub(channel, callOptions);
        }
      };
    return UsageServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Reads the ledger. A tenant sees its own records; tokens of role `operator` see those of all tenants. A record can be
   * read about a second after its request has ended. Fails with LEDGER_DISABLED if the server keeps no ledger, and with
   * LEDGER_UNAVAILABLE while its database does not answer.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Sums up records by tenant, tier, hour, model or image kind.
     * </pre>
     */
    default void summarizeUsage(dev.fovea.decoder.v1.SummarizeUsageRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.SummarizeUsageResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getSummarizeUsageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Lists records, newest first.
     * </pre>
     */
    default void listUsage(dev.fovea.decoder.v1.ListUsageRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.ListUsageResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListUsageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the records of a request id, newest first: an empty list if there are none. Calls may share an id.
     * </pre>
     */
    default void getUsage(dev.fovea.decoder.v1.GetUsageRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.GetUsageResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetUsageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Lists anomalies of the use of tenants, newest first: those of all decoders that share the ledger. Another decoder's
     * can be read some seconds after they were found.
     * </pre>
     */
    default void listAnomalies(dev.fovea.decoder.v1.ListAnomaliesRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.ListAnomaliesResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListAnomaliesMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service UsageService.
   * <pre>
   * Reads the ledger. A tenant sees its own records; tokens of role `operator` see those of all tenants. A record can be
   * read about a second after its request has ended. Fails with LEDGER_DISABLED if the server keeps no ledger, and with
   * LEDGER_UNAVAILABLE while its database does not answer.
   * </pre>
   */
  public static abstract class UsageServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return UsageServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service UsageService.
   * <pre>
   * Reads the ledger. A tenant sees its own records; tokens of role `operator` see those of all tenants. A record can be
   * read about a second after its request has ended. Fails with LEDGER_DISABLED if the server keeps no ledger, and with
   * LEDGER_UNAVAILABLE while its database does not answer.
   * </pre>
   */
  public static final class UsageServiceStub
      extends io.grpc.stub.AbstractAsyncStub<UsageServiceStub> {
    private UsageServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected UsageServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new UsageServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Sums up records by tenant, tier, hour, model or image kind.
     * </pre>
     */
    public void summarizeUsage(dev.fovea.decoder.v1.SummarizeUsageRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.SummarizeUsageResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getSummarizeUsageMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Lists records, newest first.
     * </pre>
     */
    public void listUsage(dev.fovea.decoder.v1.ListUsageRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.ListUsageResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListUsageMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns the records of a request id, newest first: an empty list if there are none. Calls may share an id.
     * </pre>
     */
    public void getUsage(dev.fovea.decoder.v1.GetUsageRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.GetUsageResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetUsageMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Lists anomalies of the use of tenants, newest first: those of all decoders that share the ledger. Another decoder's
     * can be read some seconds after they were found.
     * </pre>
     */
    public void listAnomalies(dev.fovea.decoder.v1.ListAnomaliesRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.ListAnomaliesResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListAnomaliesMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service UsageService.
   * <pre>
   * Reads the ledger. A tenant sees its own records; tokens of role `operator` see those of all tenants. A record can be
   * read about a second after its request has ended. Fails with LEDGER_DISABLED if the server keeps no ledger, and with
   * LEDGER_UNAVAILABLE while its database does not answer.
   * </pre>
   */
  public static final class UsageServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<UsageServiceBlockingV2Stub> {
    private UsageServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected UsageServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new UsageServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Sums up records by tenant, tier, hour, model or image kind.
     * </pre>
     */
    public dev.fovea.decoder.v1.SummarizeUsageResponse summarizeUsage(dev.fovea.decoder.v1.SummarizeUsageRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getSummarizeUsageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists records, newest first.
     * </pre>
     */
    public dev.fovea.decoder.v1.ListUsageResponse listUsage(dev.fovea.decoder.v1.ListUsageRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListUsageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the records of a request id, newest first: an empty list if there are none. Calls may share an id.
     * </pre>
     */
    public dev.fovea.decoder.v1.GetUsageResponse getUsage(dev.fovea.decoder.v1.GetUsageRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetUsageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists anomalies of the use of tenants, newest first: those of all decoders that share the ledger. Another decoder's
     * can be read some seconds after they were found.
     * </pre>
     */
    public dev.fovea.decoder.v1.ListAnomaliesResponse listAnomalies(dev.fovea.decoder.v1.ListAnomaliesRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getListAnomaliesMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service UsageService.
   * <pre>
   * Reads the ledger. A tenant sees its own records; tokens of role `operator` see those of all tenants. A record can be
   * read about a second after its request has ended. Fails with LEDGER_DISABLED if the server keeps no ledger, and with
   * LEDGER_UNAVAILABLE while its database does not answer.
   * </pre>
   */
  public static final class UsageServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<UsageServiceBlockingStub> {
    private UsageServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected UsageServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new UsageServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Sums up records by tenant, tier, hour, model or image kind.
     * </pre>
     */
    public dev.fovea.decoder.v1.SummarizeUsageResponse summarizeUsage(dev.fovea.decoder.v1.SummarizeUsageRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getSummarizeUsageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists records, newest first.
     * </pre>
     */
    public dev.fovea.decoder.v1.ListUsageResponse listUsage(dev.fovea.decoder.v1.ListUsageRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListUsageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the records of a request id, newest first: an empty list if there are none. Calls may share an id.
     * </pre>
     */
    public dev.fovea.decoder.v1.GetUsageResponse getUsage(dev.fovea.decoder.v1.GetUsageRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetUsageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Lists anomalies of the use of tenants, newest first: those of all decoders that share the ledger. Another decoder's
     * can be read some seconds after they were found.
     * </pre>
     */
    public dev.fovea.decoder.v1.ListAnomaliesResponse listAnomalies(dev.fovea.decoder.v1.ListAnomaliesRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListAnomaliesMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service UsageService.
   * <pre>
   * Reads the ledger. A tenant sees its own records; tokens of role `operator` see those of all tenants. A record can be
   * read about a second after its request has ended. Fails with LEDGER_DISABLED if the server keeps no ledger, and with
   * LEDGER_UNAVAILABLE while its database does not answer.
   * </pre>
   */
  public static final class UsageServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<UsageServiceFutureStub> {
    private UsageServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected UsageServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new UsageServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Sums up records by tenant, tier, hour, model or image kind.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.decoder.v1.SummarizeUsageResponse> summarizeUsage(
        dev.fovea.decoder.v1.SummarizeUsageRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getSummarizeUsageMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Lists records, newest first.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.decoder.v1.ListUsageResponse> listUsage(
        dev.fovea.decoder.v1.ListUsageRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListUsageMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns the records of a request id, newest first: an empty list if there are none. Calls may share an id.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.decoder.v1.GetUsageResponse> getUsage(
        dev.fovea.decoder.v1.GetUsageRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetUsageMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Lists anomalies of the use of tenants, newest first: those of all decoders that share the ledger. Another decoder's
     * can be read some seconds after they were found.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.decoder.v1.ListAnomaliesResponse> listAnomalies(
        dev.fovea.decoder.v1.ListAnomaliesRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListAnomaliesMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_SUMMARIZE_USAGE = 0;
  private static final int METHODID_LIST_USAGE = 1;
  private static final int METHODID_GET_USAGE = 2;
  private static final int METHODID_LIST_ANOMALIES = 3;

  private static final class MethodHandlers<Req, Resp> implements
      io.grpc.stub.ServerCalls.UnaryMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ServerStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ClientStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.BidiStreamingMethod<Req, Resp> {
    private final AsyncService serviceImpl;
    private final int methodId;

    MethodHandlers(AsyncService serviceImpl, int methodId) {
      this.serviceImpl = serviceImpl;
      this.methodId = methodId;
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public void invoke(Req request, io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_SUMMARIZE_USAGE:
          serviceImpl.summarizeUsage((dev.fovea.decoder.v1.SummarizeUsageRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.SummarizeUsageResponse>) responseObserver);
          break;
        case METHODID_LIST_USAGE:
          serviceImpl.listUsage((dev.fovea.decoder.v1.ListUsageRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.ListUsageResponse>) responseObserver);
          break;
        case METHODID_GET_USAGE:
          serviceImpl.getUsage((dev.fovea.decoder.v1.GetUsageRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.GetUsageResponse>) responseObserver);
          break;
        case METHODID_LIST_ANOMALIES:
          serviceImpl.listAnomalies((dev.fovea.decoder.v1.ListAnomaliesRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.ListAnomaliesResponse>) responseObserver);
          break;
        default:
          throw new AssertionError();
      }
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public io.grpc.stub.StreamObserver<Req> invoke(
        io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getSummarizeUsageMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.decoder.v1.SummarizeUsageRequest,
              dev.fovea.decoder.v1.SummarizeUsageResponse>(
                service, METHODID_SUMMARIZE_USAGE)))
        .addMethod(
          getListUsageMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.decoder.v1.ListUsageRequest,
              dev.fovea.decoder.v1.ListUsageResponse>(
                service, METHODID_LIST_USAGE)))
        .addMethod(
          getGetUsageMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.decoder.v1.GetUsageRequest,
              dev.fovea.decoder.v1.GetUsageResponse>(
                service, METHODID_GET_USAGE)))
        .addMethod(
          getListAnomaliesMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.decoder.v1.ListAnomaliesRequest,
              dev.fovea.decoder.v1.ListAnomaliesResponse>(
                service, METHODID_LIST_ANOMALIES)))
        .build();
  }

  private static abstract class UsageServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    UsageServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.fovea.decoder.v1.Usage.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("UsageService");
    }
  }

  private static final class UsageServiceFileDescriptorSupplier
      extends UsageServiceBaseDescriptorSupplier {
    UsageServiceFileDescriptorSupplier() {}
  }

  private static final class UsageServiceMethodDescriptorSupplier
      extends UsageServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    UsageServiceMethodDescriptorSupplier(java.lang.String methodName) {
      this.methodName = methodName;
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.MethodDescriptor getMethodDescriptor() {
      return getServiceDescriptor().findMethodByName(methodName);
    }
  }

  private static volatile io.grpc.ServiceDescriptor serviceDescriptor;

  public static io.grpc.ServiceDescriptor getServiceDescriptor() {
    io.grpc.ServiceDescriptor result = serviceDescriptor;
    if (result == null) {
      synchronized (UsageServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new UsageServiceFileDescriptorSupplier())
              .addMethod(getSummarizeUsageMethod())
              .addMethod(getListUsageMethod())
              .addMethod(getGetUsageMethod())
              .addMethod(getListAnomaliesMethod())
              .build();
        }
      }
    }
    return result;
  }
}
