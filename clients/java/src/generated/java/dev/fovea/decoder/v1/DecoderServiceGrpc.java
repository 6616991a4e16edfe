package dev.fovea.decoder.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Answers questions about images.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class DecoderServiceGrpc {

  private DecoderServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "fovea.decoder.v1.DecoderService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.fovea.decoder.v1.PutImageRequest,
      dev.fovea.decoder.v1.PutImageResponse> getPutImageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "PutImage",
      requestType = dev.fovea.decoder.v1.PutImageRequest.class,
      responseType = dev.fovea.decoder.v1.PutImageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.CLIENT_STREAMING)
  public static io.grpc.MethodDescriptor<dev.fovea.decoder.v1.PutImageRequest,
      dev.fovea.decoder.v1.PutImageResponse> getPutImageMethod() {
    io.grpc.MethodDescriptor<dev.fovea.decoder.v1.PutImageRequest, dev.fovea.decoder.v1.PutImageResponse> getPutImageMethod;
    if ((getPutImageMethod = DecoderServiceGrpc.getPutImageMethod) == null) {
      synchronized (DecoderServiceGrpc.class) {
        if ((getPutImageMethod = DecoderServiceGrpc.getPutImageMethod) == null) {
          DecoderServiceGrpc.getPutImageMethod = getPutImageMethod =
              io.grpc.MethodDescriptor.<dev.fovea.decoder.v1.PutImageRequest, dev.fovea.decoder.v1.PutImageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.CLIENT_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "PutImage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.PutImageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.PutImageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new DecoderServiceMethodDescriptorSupplier("PutImage"))
              .build();
        }
      }
    }
    return getPutImageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.decoder.v1.DescribeImageRequest,
      dev.fovea.decoder.v1.DescribeImageResponse> getDescribeImageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "DescribeImage",
      requestType = dev.fovea.decoder.v1.DescribeImageRequest.class,
      responseType = dev.fovea.decoder.v1.DescribeImageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.decoder.v1.DescribeImageRequest,
      dev.fovea.decoder.v1.DescribeImageResponse> getDescribeImageMethod() {
    io.grpc.MethodDescriptor<dev.fovea.decoder.v1.DescribeImageRequest, dev.fovea.decoder.v1.DescribeImageResponse> getDescribeImageMethod;
    if ((getDescribeImageMethod = DecoderServiceGrpc.getDescribeImageMethod) == null) {
      synchronized (DecoderServiceGrpc.class) {
        if ((getDescribeImageMethod = DecoderServiceGrpc.getDescribeImageMethod) == null) {
          DecoderServiceGrpc.getDescribeImageMethod = getDescribeImageMethod =
              io.grpc.MethodDescriptor.<dev.fovea.decoder.v1.DescribeImageRequest, dev.fovea.decoder.v1.DescribeImageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "DescribeImage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.DescribeImageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.DescribeImageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new DecoderServiceMethodDescriptorSupplier("DescribeImage"))
              .build();
        }
      }
    }
    return getDescribeImageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.decoder.v1.GenerateRequest,
      dev.fovea.decoder.v1.GenerateResponse> getGenerateMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Generate",
      requestType = dev.fovea.decoder.v1.GenerateRequest.class,
      responseType = dev.fovea.decoder.v1.GenerateResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.fovea.decoder.v1.GenerateRequest,
      dev.fovea.decoder.v1.GenerateResponse> getGenerateMethod() {
    io.grpc.MethodDescriptor<dev.fovea.decoder.v1.GenerateRequest, dev.fovea.decoder.v1.GenerateResponse> getGenerateMethod;
    if ((getGenerateMethod = DecoderServiceGrpc.getGenerateMethod) == null) {
      synchronized (DecoderServiceGrpc.class) {
        if ((getGenerateMethod = DecoderServiceGrpc.getGenerateMethod) == null) {
          DecoderServiceGrpc.getGenerateMethod = getGenerateMethod =
              io.grpc.MethodDescriptor.<dev.fovea.decoder.v1.GenerateRequest, dev.fovea.decoder.v1.GenerateResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Generate"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.GenerateRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.GenerateResponse.getDefaultInstance()))
              .setSchemaDescriptor(new DecoderServiceMethodDescriptorSupplier("Generate"))
              .build();
        }
      }
    }
    return getGenerateMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.decoder.v1.CompleteRequest,
      dev.fovea.decoder.v1.CompleteResponse> getCompleteMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Complete",
      requestType = dev.fovea.decoder.v1.CompleteRequest.class,
      responseType = dev.fovea.decoder.v1.CompleteResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.decoder.v1.CompleteRequest,
      dev.fovea.decoder.v1.CompleteResponse> getCompleteMethod() {
    io.grpc.MethodDescriptor<dev.fovea.decoder.v1.CompleteRequest, dev.fovea.decoder.v1.CompleteResponse> getCompleteMethod;
    if ((getCompleteMethod = DecoderServiceGrpc.getCompleteMethod) == null) {
      synchronized (DecoderServiceGrpc.class) {
        if ((getCompleteMethod = DecoderServiceGrpc.getCompleteMethod) == null) {
          DecoderServiceGrpc.getCompleteMethod = getCompleteMethod =
              io.grpc.MethodDescriptor.<dev.fovea.decoder.v1.CompleteRequest, dev.fovea.decoder.v1.CompleteResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Complete"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.CompleteRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.CompleteResponse.getDefaultInstance()))
              .setSchemaDescriptor(new DecoderServiceMethodDescriptorSupplier("Complete"))
              .build();
        }
      }
    }
    return getCompleteMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.decoder.v1.CountTokensRequest,
      dev.fovea.decoder.v1.CountTokensResponse> getCountTokensMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CountTokens",
      requestType = dev.fovea.decoder.v1.CountTokensRequest.class,
      responseType = dev.fovea.decoder.v1.CountTokensResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.decoder.v1.CountTokensRequest,
      dev.fovea.decoder.v1.CountTokensResponse> getCountTokensMethod() {
    io.grpc.MethodDescriptor<dev.fovea.decoder.v1.CountTokensRequest, dev.fovea.decoder.v1.CountTokensResponse> getCountTokensMethod;
    if ((getCountTokensMethod = DecoderServiceGrpc.getCountTokensMethod) == null) {
      synchronized (DecoderServiceGrpc.class) {
        if ((getCountTokensMethod = DecoderServiceGrpc.getCountTokensMethod) == null) {
          DecoderServiceGrpc.getCountTokensMethod = getCountTokensMethod =
              io.grpc.MethodDescriptor.<dev.fovea.decoder.v1.CountTokensRequest, dev.fovea.decoder.v1.CountTokensResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CountTokens"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.CountTokensRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.CountTokensResponse.getDefaultInstance()))
              .setSchemaDescriptor(new DecoderServiceMethodDescriptorSupplier("CountTokens"))
              .build();
        }
      }
    }
    return getCountTokensMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.decoder.v1.DeleteImageRequest,
      dev.fovea.decoder.v1.DeleteImageResponse> getDeleteImageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "DeleteImage",
      requestType = dev.fovea.decoder.v1.DeleteImageRequest.class,
      responseType = dev.fovea.decoder.v1.DeleteImageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.decoder.v1.DeleteImageRequest,
      dev.fovea.decoder.v1.DeleteImageResponse> getDeleteImageMethod() {
    io.grpc.MethodDescriptor<dev.fovea.decoder.v1.DeleteImageRequest, dev.fovea.decoder.v1.DeleteImageResponse> getDeleteImageMethod;
    if ((getDeleteImageMethod = DecoderServiceGrpc.getDeleteImageMethod) == null) {
      synchronized (DecoderServiceGrpc.class) {
        if ((getDeleteImageMethod = DecoderServiceGrpc.getDeleteImageMethod) == null) {
          DecoderServiceGrpc.getDeleteImageMethod = getDeleteImageMethod =
              io.grpc.MethodDescriptor.<dev.fovea.decoder.v1.DeleteImageRequest, dev.fovea.decoder.v1.DeleteImageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "DeleteImage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.DeleteImageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.DeleteImageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new DecoderServiceMethodDescriptorSupplier("DeleteImage"))
              .build();
        }
      }
    }
    return getDeleteImageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.decoder.v1.PurgeTenantRequest,
      dev.fovea.decoder.v1.PurgeTenantResponse> getPurgeTenantMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "PurgeTenant",
      requestType = dev.fovea.decoder.v1.PurgeTenantRequest.class,
      responseType = dev.fovea.decoder.v1.PurgeTenantResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.decoder.v1.PurgeTenantRequest,
      dev.fovea.decoder.v1.PurgeTenantResponse> getPurgeTenantMethod() {
    io.grpc.MethodDescriptor<dev.fovea.decoder.v1.PurgeTenantRequest, dev.fovea.decoder.v1.PurgeTenantResponse> getPurgeTenantMethod;
    if ((getPurgeTenantMethod = DecoderServiceGrpc.getPurgeTenantMethod) == null) {
      synchronized (DecoderServiceGrpc.class) {
        if ((getPurgeTenantMethod = DecoderServiceGrpc.getPurgeTenantMethod) == null) {
          DecoderServiceGrpc.getPurgeTenantMethod = getPurgeTenantMethod =
              io.grpc.MethodDescriptor.<dev.fovea.decoder.v1.PurgeTenantRequest, dev.fovea.decoder.v1.PurgeTenantResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "PurgeTenant"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.PurgeTenantRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.PurgeTenantResponse.getDefaultInstance()))
              .setSchemaDescriptor(new DecoderServiceMethodDescriptorSupplier("PurgeTenant"))
              .build();
        }
      }
    }
    return getPurgeTenantMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.decoder.v1.GetServerInfoRequest,
      dev.fovea.decoder.v1.GetServerInfoResponse> getGetServerInfoMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetServerInfo",
      requestType = dev.fovea.decoder.v1.GetServerInfoRequest.class,
      responseType = dev.fovea.decoder.v1.GetServerInfoResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.decoder.v1.GetServerInfoRequest,
      dev.fovea.decoder.v1.GetServerInfoResponse> getGetServerInfoMethod() {
    io.grpc.MethodDescriptor<dev.fovea.decoder.v1.GetServerInfoRequest, dev.fovea.decoder.v1.GetServerInfoResponse> getGetServerInfoMethod;
    if ((getGetServerInfoMethod = DecoderServiceGrpc.getGetServerInfoMethod) == null) {
      synchronized (DecoderServiceGrpc.class) {
        if ((getGetServerInfoMethod = DecoderServiceGrpc.getGetServerInfoMethod) == null) {
          DecoderServiceGrpc.getGetServerInfoMethod = getGetServerInfoMethod =
              io.grpc.MethodDescriptor.<dev.fovea.decoder.v1.GetServerInfoRequest, dev.fovea.decoder.v1.GetServerInfoResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetServerInfo"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.GetServerInfoRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.decoder.v1.GetServerInfoResponse.getDefaultInstance()))
              .setSchemaDescriptor(new DecoderServiceMethodDescriptorSupplier("GetServerInfo"))
              .build();
        }
      }
    }
    return getGetServerInfoMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static DecoderServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<DecoderServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<DecoderServiceStub>() {
        @java.lang.Override
        public DecoderServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new DecoderServiceStub(channel, callOptions);
        }
      };
    return DecoderServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static DecoderServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<DecoderServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<DecoderServiceBlockingV2Stub>() {
        @java.lang.Override
        public DecoderServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new DecoderServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return DecoderServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static DecoderServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<DecoderServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<DecoderServiceBlockingStub>() {
        @java.lang.Override
        public DecoderServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new DecoderServiceBlockingStub(channel, callOptions);
        }
      };
    return DecoderServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static DecoderServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<DecoderServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<DecoderServiceFutureStub>() {
        @java.lang.Override
        public DecoderServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new DecoderServiceFutureStub(channel, callOptions);
        }
      };
    return DecoderServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Answers questions about images.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Stores an image on the encoders that rank highest for its id, so that later requests can refer to it. Idempotent.
     * </pre>
     */
    default io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.PutImageRequest> putImage(
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.PutImageResponse> responseObserver) {
      return io.grpc.stub.ServerCalls.asyncUnimplementedStreamingCall(getPutImageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the facts of a stored image, so that a client can avoid uploading a large file again. Fails with
     * IMAGE_NOT_STORED if no encoder holds the image, and with ENCODER_UNAVAILABLE if an encoder that may hold it is down.
     * Does not renew its expiry.
     * </pre>
     */
    default void describeImage(dev.fovea.decoder.v1.DescribeImageRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.DescribeImageResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getDescribeImageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Answers a conversation as a stream: `started`, then deltas, then `finished` with the receipt.
     * </pre>
     */
    default void generate(dev.fovea.decoder.v1.GenerateRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.GenerateResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGenerateMethod(), responseObserver);
    }

    /**
     * <pre>
     * Answers the same request with a single message.
     * </pre>
     */
    default void complete(dev.fovea.decoder.v1.CompleteRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.CompleteResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCompleteMethod(), responseObserver);
    }

    /**
     * <pre>
     * Counts the tokens of a whole request without running the language model. Inline images are stored.
     * </pre>
     */
    default void countTokens(dev.fovea.decoder.v1.CountTokensRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.CountTokensResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCountTokensMethod(), responseObserver);
    }

    /**
     * <pre>
     * Deletes an image of the caller's tenant and all rows of its pixels, on every encoder and in the decoder's caches.
     * Succeeds even if some encoders did not confirm; the response names them. Repeat the call until all do. Idempotent.
     * </pre>
     */
    default void deleteImage(dev.fovea.decoder.v1.DeleteImageRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.DeleteImageResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getDeleteImageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Deletes everything of a tenant, on every encoder and in the decoder's caches. For tokens of role `operator`.
     * Otherwise like DeleteImage.
     * </pre>
     */
    default void purgeTenant(dev.fovea.decoder.v1.PurgeTenantRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.PurgeTenantResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getPurgeTenantMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the model, the limits, the features, the load and the encoders.
     * </pre>
     */
    default void getServerInfo(dev.fovea.decoder.v1.GetServerInfoRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.GetServerInfoResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetServerInfoMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service DecoderService.
   * <pre>
   * Answers questions about images.
   * </pre>
   */
  public static abstract class DecoderServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return DecoderServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service DecoderService.
   * <pre>
   * Answers questions about images.
   * </pre>
   */
  public static final class DecoderServiceStub
      extends io.grpc.stub.AbstractAsyncStub<DecoderServiceStub> {
    private DecoderServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected DecoderServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new DecoderServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Stores an image on the encoders that rank highest for its id, so that later requests can refer to it. Idempotent.
     * </pre>
     */
    public io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.PutImageRequest> putImage(
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.PutImageResponse> responseObserver) {
      return io.grpc.stub.ClientCalls.asyncClientStreamingCall(
          getChannel().newCall(getPutImageMethod(), getCallOptions()), responseObserver);
    }

    /**
     * <pre>
     * Returns the facts of a stored image, so that a client can avoid uploading a large file again. Fails with
     * IMAGE_NOT_STORED if no encoder holds the image, and with ENCODER_UNAVAILABLE if an encoder that may hold it is down.
     * Does not renew its expiry.
     * </pre>
     */
    public void describeImage(dev.fovea.decoder.v1.DescribeImageRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.DescribeImageResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getDescribeImageMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Answers a conversation as a stream: `started`, then deltas, then `finished` with the receipt.
     * </pre>
     */
    public void generate(dev.fovea.decoder.v1.GenerateRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.GenerateResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getGenerateMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Answers the same request with a single message.
     * </pre>
     */
    public void complete(dev.fovea.decoder.v1.CompleteRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.CompleteResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCompleteMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Counts the tokens of a whole request without running the language model. Inline images are stored.
     * </pre>
     */
    public void countTokens(dev.fovea.decoder.v1.CountTokensRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.CountTokensResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCountTokensMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Deletes an image of the caller's tenant and all rows of its pixels, on every encoder and in the decoder's caches.
     * Succeeds even if some encoders did not confirm; the response names them. Repeat the call until all do. Idempotent.
     * </pre>
     */
    public void deleteImage(dev.fovea.decoder.v1.DeleteImageRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.DeleteImageResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getDeleteImageMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Deletes everything of a tenant, on every encoder and in the decoder's caches. For tokens of role `operator`.
     * Otherwise like DeleteImage.
     * </pre>
     */
    public void purgeTenant(dev.fovea.decoder.v1.PurgeTenantRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.PurgeTenantResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getPurgeTenantMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns the model, the limits, the features, the load and the encoders.
     * </pre>
     */
    public void getServerInfo(dev.fovea.decoder.v1.GetServerInfoRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.GetServerInfoResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetServerInfoMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service DecoderService.
   * <pre>
   * Answers questions about images.
   * </pre>
   */
  public static final class DecoderServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<DecoderServiceBlockingV2Stub> {
    private DecoderServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected DecoderServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new DecoderServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Stores an image on the encoders that rank highest for its id, so that later requests can refer to it. Idempotent.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<dev.fovea.decoder.v1.PutImageRequest, dev.fovea.decoder.v1.PutImageResponse>
        putImage() {
      return io.grpc.stub.ClientCalls.blockingClientStreamingCall(
          getChannel(), getPutImageMethod(), getCallOptions());
    }

    /**
     * <pre>
     * Returns the facts of a stored image, so that a client can avoid uploading a large file again. Fails with
     * IMAGE_NOT_STORED if no encoder holds the image, and with ENCODER_UNAVAILABLE if an encoder that may hold it is down.
     * Does not renew its expiry.
     * </pre>
     */
    public dev.fovea.decoder.v1.DescribeImageResponse describeImage(dev.fovea.decoder.v1.DescribeImageRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getDescribeImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Answers a conversation as a stream: `started`, then deltas, then `finished` with the receipt.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.fovea.decoder.v1.GenerateResponse>
        generate(dev.fovea.decoder.v1.GenerateRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getGenerateMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Answers the same request with a single message.
     * </pre>
     */
    public dev.fovea.decoder.v1.CompleteResponse complete(dev.fovea.decoder.v1.CompleteRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCompleteMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Counts the tokens of a whole request without running the language model. Inline images are stored.
     * </pre>
     */
    public dev.fovea.decoder.v1.CountTokensResponse countTokens(dev.fovea.decoder.v1.CountTokensRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCountTokensMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Deletes an image of the caller's tenant and all rows of its pixels, on every encoder and in the decoder's caches.
     * Succeeds even if some encoders did not confirm; the response names them. Repeat the call until all do. Idempotent.
     * </pre>
     */
    public dev.fovea.decoder.v1.DeleteImageResponse deleteImage(dev.fovea.decoder.v1.DeleteImageRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getDeleteImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Deletes everything of a tenant, on every encoder and in the decoder's caches. For tokens of role `operator`.
     * Otherwise like DeleteImage.
     * </pre>
     */
    public dev.fovea.decoder.v1.PurgeTenantResponse purgeTenant(dev.fovea.decoder.v1.PurgeTenantRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getPurgeTenantMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the model, the limits, the features, the load and the encoders.
     * </pre>
     */
    public dev.fovea.decoder.v1.GetServerInfoResponse getServerInfo(dev.fovea.decoder.v1.GetServerInfoRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetServerInfoMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service DecoderService.
   * <pre>
   * Answers questions about images.
   * </pre>
   */
  public static final class DecoderServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<DecoderServiceBlockingStub> {
    private DecoderServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected DecoderServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new DecoderServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns the facts of a stored image, so that a client can avoid uploading a large file again. Fails with
     * IMAGE_NOT_STORED if no encoder holds the image, and with ENCODER_UNAVAILABLE if an encoder that may hold it is down.
     * Does not renew its expiry.
     * </pre>
     */
    public dev.fovea.decoder.v1.DescribeImageResponse describeImage(dev.fovea.decoder.v1.DescribeImageRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getDescribeImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Answers a conversation as a stream: `started`, then deltas, then `finished` with the receipt.
     * </pre>
     */
    public java.util.Iterator<dev.fovea.decoder.v1.GenerateResponse> generate(
        dev.fovea.decoder.v1.GenerateRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getGenerateMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Answers the same request with a single message.
     * </pre>
     */
    public dev.fovea.decoder.v1.CompleteResponse complete(dev.fovea.decoder.v1.CompleteRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCompleteMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Counts the tokens of a whole request without running the language model. Inline images are stored.
     * </pre>
     */
    public dev.fovea.decoder.v1.CountTokensResponse countTokens(dev.fovea.decoder.v1.CountTokensRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCountTokensMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Deletes an image of the caller's tenant and all rows of its pixels, on every encoder and in the decoder's caches.
     * Succeeds even if some encoders did not confirm; the response names them. Repeat the call until all do. Idempotent.
     * </pre>
     */
    public dev.fovea.decoder.v1.DeleteImageResponse deleteImage(dev.fovea.decoder.v1.DeleteImageRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getDeleteImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Deletes everything of a tenant, on every encoder and in the decoder's caches. For tokens of role `operator`.
     * Otherwise like DeleteImage.
     * </pre>
     */
    public dev.fovea.decoder.v1.PurgeTenantResponse purgeTenant(dev.fovea.decoder.v1.PurgeTenantRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getPurgeTenantMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the model, the limits, the features, the load and the encoders.
     * </pre>
     */
    public dev.fovea.decoder.v1.GetServerInfoResponse getServerInfo(dev.fovea.decoder.v1.GetServerInfoRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetServerInfoMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service DecoderService.
   * <pre>
   * Answers questions about images.
   * </pre>
   */
  public static final class DecoderServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<DecoderServiceFutureStub> {
    private DecoderServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected DecoderServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new DecoderServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns the facts of a stored image, so that a client can avoid uploading a large file again. Fails with
     * IMAGE_NOT_STORED if no encoder holds the image, and with ENCODER_UNAVAILABLE if an encoder that may hold it is down.
     * Does not renew its expiry.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.decoder.v1.DescribeImageResponse> describeImage(
        dev.fovea.decoder.v1.DescribeImageRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getDescribeImageMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Answers the same request with a single message.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.decoder.v1.CompleteResponse> complete(
        dev.fovea.decoder.v1.CompleteRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCompleteMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Counts the tokens of a whole request without running the language model. Inline images are stored.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.decoder.v1.CountTokensResponse> countTokens(
        dev.fovea.decoder.v1.CountTokensRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCountTokensMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Deletes an image of the caller's tenant and all rows of its pixels, on every encoder and in the decoder's caches.
     * Succeeds even if some encoders did not confirm; the response names them. Repeat the call until all do. Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.decoder.v1.DeleteImageResponse> deleteImage(
        dev.fovea.decoder.v1.DeleteImageRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getDeleteImageMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Deletes everything of a tenant, on every encoder and in the decoder's caches. For tokens of role `operator`.
     * Otherwise like DeleteImage.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.decoder.v1.PurgeTenantResponse> purgeTenant(
        dev.fovea.decoder.v1.PurgeTenantRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getPurgeTenantMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns the model, the limits, the features, the load and the encoders.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.decoder.v1.GetServerInfoResponse> getServerInfo(
        dev.fovea.decoder.v1.GetServerInfoRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetServerInfoMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_DESCRIBE_IMAGE = 0;
  private static final int METHODID_GENERATE = 1;
  private static final int METHODID_COMPLETE = 2;
  private static final int METHODID_COUNT_TOKENS = 3;
  private static final int METHODID_DELETE_IMAGE = 4;
  private static final int METHODID_PURGE_TENANT = 5;
  private static final int METHODID_GET_SERVER_INFO = 6;
  private static final int METHODID_PUT_IMAGE = 7;

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
        case METHODID_DESCRIBE_IMAGE:
          serviceImpl.describeImage((dev.fovea.decoder.v1.DescribeImageRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.DescribeImageResponse>) responseObserver);
          break;
        case METHODID_GENERATE:
          serviceImpl.generate((dev.fovea.decoder.v1.GenerateRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.GenerateResponse>) responseObserver);
          break;
        case METHODID_COMPLETE:
          serviceImpl.complete((dev.fovea.decoder.v1.CompleteRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.CompleteResponse>) responseObserver);
          break;
        case METHODID_COUNT_TOKENS:
          serviceImpl.countTokens((dev.fovea.decoder.v1.CountTokensRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.CountTokensResponse>) responseObserver);
          break;
        case METHODID_DELETE_IMAGE:
          serviceImpl.deleteImage((dev.fovea.decoder.v1.DeleteImageRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.DeleteImageResponse>) responseObserver);
          break;
        case METHODID_PURGE_TENANT:
          serviceImpl.purgeTenant((dev.fovea.decoder.v1.PurgeTenantRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.PurgeTenantResponse>) responseObserver);
          break;
        case METHODID_GET_SERVER_INFO:
          serviceImpl.getServerInfo((dev.fovea.decoder.v1.GetServerInfoRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.GetServerInfoResponse>) responseObserver);
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
        case METHODID_PUT_IMAGE:
          return (io.grpc.stub.StreamObserver<Req>) serviceImpl.putImage(
              (io.grpc.stub.StreamObserver<dev.fovea.decoder.v1.PutImageResponse>) responseObserver);
        default:
          throw new AssertionError();
      }
    }
  }

  public static final io.grpc.ServerServiceDefinition bindService(AsyncService service) {
    return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
        .addMethod(
          getPutImageMethod(),
          io.grpc.stub.ServerCalls.asyncClientStreamingCall(
            new MethodHandlers<
              dev.fovea.decoder.v1.PutImageRequest,
              dev.fovea.decoder.v1.PutImageResponse>(
                service, METHODID_PUT_IMAGE)))
        .addMethod(
          getDescribeImageMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.decoder.v1.DescribeImageRequest,
              dev.fovea.decoder.v1.DescribeImageResponse>(
                service, METHODID_DESCRIBE_IMAGE)))
        .addMethod(
          getGenerateMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.fovea.decoder.v1.GenerateRequest,
              dev.fovea.decoder.v1.GenerateResponse>(
                service, METHODID_GENERATE)))
        .addMethod(
          getCompleteMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.decoder.v1.CompleteRequest,
              dev.fovea.decoder.v1.CompleteResponse>(
                service, METHODID_COMPLETE)))
        .addMethod(
          getCountTokensMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.decoder.v1.CountTokensRequest,
              dev.fovea.decoder.v1.CountTokensResponse>(
                service, METHODID_COUNT_TOKENS)))
        .addMethod(
          getDeleteImageMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.decoder.v1.DeleteImageRequest,
              dev.fovea.decoder.v1.DeleteImageResponse>(
                service, METHODID_DELETE_IMAGE)))
        .addMethod(
          getPurgeTenantMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.decoder.v1.PurgeTenantRequest,
              dev.fovea.decoder.v1.PurgeTenantResponse>(
                service, METHODID_PURGE_TENANT)))
        .addMethod(
          getGetServerInfoMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.decoder.v1.GetServerInfoRequest,
              dev.fovea.decoder.v1.GetServerInfoResponse>(
                service, METHODID_GET_SERVER_INFO)))
        .build();
  }

  private static abstract class DecoderServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    DecoderServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.fovea.decoder.v1.Decoder.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("DecoderService");
    }
  }

  private static final class DecoderServiceFileDescriptorSupplier
      extends DecoderServiceBaseDescriptorSupplier {
    DecoderServiceFileDescriptorSupplier() {}
  }

  private static final class DecoderServiceMethodDescriptorSupplier
      extends DecoderServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    DecoderServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (DecoderServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new DecoderServiceFileDescriptorSupplier())
              .addMethod(getPutImageMethod())
              .addMethod(getDescribeImageMethod())
              .addMethod(getGenerateMethod())
              .addMethod(getCompleteMethod())
              .addMethod(getCountTokensMethod())
              .addMethod(getDeleteImageMethod())
              .addMethod(getPurgeTenantMethod())
              .addMethod(getGetServerInfoMethod())
              .build();
        }
      }
    }
    return result;
  }
}
