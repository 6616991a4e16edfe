package dev.fovea.encoder.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * Stores images by content hash and encodes each to visual rows once.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class EncoderServiceGrpc {

  private EncoderServiceGrpc() {}

  public static final java.lang.String SERVICE_NAME = "fovea.encoder.v1.EncoderService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.fovea.encoder.v1.PutImageRequest,
      dev.fovea.encoder.v1.PutImageResponse> getPutImageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "PutImage",
      requestType = dev.fovea.encoder.v1.PutImageRequest.class,
      responseType = dev.fovea.encoder.v1.PutImageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.CLIENT_STREAMING)
  public static io.grpc.MethodDescriptor<dev.fovea.encoder.v1.PutImageRequest,
      dev.fovea.encoder.v1.PutImageResponse> getPutImageMethod() {
    io.grpc.MethodDescriptor<dev.fovea.encoder.v1.PutImageRequest, dev.fovea.encoder.v1.PutImageResponse> getPutImageMethod;
    if ((getPutImageMethod = EncoderServiceGrpc.getPutImageMethod) == null) {
      synchronized (EncoderServiceGrpc.class) {
        if ((getPutImageMethod = EncoderServiceGrpc.getPutImageMethod) == null) {
          EncoderServiceGrpc.getPutImageMethod = getPutImageMethod =
              io.grpc.MethodDescriptor.<dev.fovea.encoder.v1.PutImageRequest, dev.fovea.encoder.v1.PutImageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.CLIENT_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "PutImage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.PutImageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.PutImageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new EncoderServiceMethodDescriptorSupplier("PutImage"))
              .build();
        }
      }
    }
    return getPutImageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.encoder.v1.DescribeImageRequest,
      dev.fovea.encoder.v1.DescribeImageResponse> getDescribeImageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "DescribeImage",
      requestType = dev.fovea.encoder.v1.DescribeImageRequest.class,
      responseType = dev.fovea.encoder.v1.DescribeImageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.encoder.v1.DescribeImageRequest,
      dev.fovea.encoder.v1.DescribeImageResponse> getDescribeImageMethod() {
    io.grpc.MethodDescriptor<dev.fovea.encoder.v1.DescribeImageRequest, dev.fovea.encoder.v1.DescribeImageResponse> getDescribeImageMethod;
    if ((getDescribeImageMethod = EncoderServiceGrpc.getDescribeImageMethod) == null) {
      synchronized (EncoderServiceGrpc.class) {
        if ((getDescribeImageMethod = EncoderServiceGrpc.getDescribeImageMethod) == null) {
          EncoderServiceGrpc.getDescribeImageMethod = getDescribeImageMethod =
              io.grpc.MethodDescriptor.<dev.fovea.encoder.v1.DescribeImageRequest, dev.fovea.encoder.v1.DescribeImageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "DescribeImage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.DescribeImageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.DescribeImageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new EncoderServiceMethodDescriptorSupplier("DescribeImage"))
              .build();
        }
      }
    }
    return getDescribeImageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.encoder.v1.EncodeRequest,
      dev.fovea.encoder.v1.EncodeResponse> getEncodeMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "Encode",
      requestType = dev.fovea.encoder.v1.EncodeRequest.class,
      responseType = dev.fovea.encoder.v1.EncodeResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.fovea.encoder.v1.EncodeRequest,
      dev.fovea.encoder.v1.EncodeResponse> getEncodeMethod() {
    io.grpc.MethodDescriptor<dev.fovea.encoder.v1.EncodeRequest, dev.fovea.encoder.v1.EncodeResponse> getEncodeMethod;
    if ((getEncodeMethod = EncoderServiceGrpc.getEncodeMethod) == null) {
      synchronized (EncoderServiceGrpc.class) {
        if ((getEncodeMethod = EncoderServiceGrpc.getEncodeMethod) == null) {
          EncoderServiceGrpc.getEncodeMethod = getEncodeMethod =
              io.grpc.MethodDescriptor.<dev.fovea.encoder.v1.EncodeRequest, dev.fovea.encoder.v1.EncodeResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "Encode"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.EncodeRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.EncodeResponse.getDefaultInstance()))
              .setSchemaDescriptor(new EncoderServiceMethodDescriptorSupplier("Encode"))
              .build();
        }
      }
    }
    return getEncodeMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.encoder.v1.PlaceRowsRequest,
      dev.fovea.encoder.v1.PlaceRowsResponse> getPlaceRowsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "PlaceRows",
      requestType = dev.fovea.encoder.v1.PlaceRowsRequest.class,
      responseType = dev.fovea.encoder.v1.PlaceRowsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.encoder.v1.PlaceRowsRequest,
      dev.fovea.encoder.v1.PlaceRowsResponse> getPlaceRowsMethod() {
    io.grpc.MethodDescriptor<dev.fovea.encoder.v1.PlaceRowsRequest, dev.fovea.encoder.v1.PlaceRowsResponse> getPlaceRowsMethod;
    if ((getPlaceRowsMethod = EncoderServiceGrpc.getPlaceRowsMethod) == null) {
      synchronized (EncoderServiceGrpc.class) {
        if ((getPlaceRowsMethod = EncoderServiceGrpc.getPlaceRowsMethod) == null) {
          EncoderServiceGrpc.getPlaceRowsMethod = getPlaceRowsMethod =
              io.grpc.MethodDescriptor.<dev.fovea.encoder.v1.PlaceRowsRequest, dev.fovea.encoder.v1.PlaceRowsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "PlaceRows"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.PlaceRowsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.PlaceRowsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new EncoderServiceMethodDescriptorSupplier("PlaceRows"))
              .build();
        }
      }
    }
    return getPlaceRowsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.encoder.v1.LeaseRowsRequest,
      dev.fovea.encoder.v1.LeaseRowsResponse> getLeaseRowsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "LeaseRows",
      requestType = dev.fovea.encoder.v1.LeaseRowsRequest.class,
      responseType = dev.fovea.encoder.v1.LeaseRowsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.encoder.v1.LeaseRowsRequest,
      dev.fovea.encoder.v1.LeaseRowsResponse> getLeaseRowsMethod() {
    io.grpc.MethodDescriptor<dev.fovea.encoder.v1.LeaseRowsRequest, dev.fovea.encoder.v1.LeaseRowsResponse> getLeaseRowsMethod;
    if ((getLeaseRowsMethod = EncoderServiceGrpc.getLeaseRowsMethod) == null) {
      synchronized (EncoderServiceGrpc.class) {
        if ((getLeaseRowsMethod = EncoderServiceGrpc.getLeaseRowsMethod) == null) {
          EncoderServiceGrpc.getLeaseRowsMethod = getLeaseRowsMethod =
              io.grpc.MethodDescriptor.<dev.fovea.encoder.v1.LeaseRowsRequest, dev.fovea.encoder.v1.LeaseRowsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "LeaseRows"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.LeaseRowsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.LeaseRowsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new EncoderServiceMethodDescriptorSupplier("LeaseRows"))
              .build();
        }
      }
    }
    return getLeaseRowsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.encoder.v1.ReleaseRowsRequest,
      dev.fovea.encoder.v1.ReleaseRowsResponse> getReleaseRowsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ReleaseRows",
      requestType = dev.fovea.encoder.v1.ReleaseRowsRequest.class,
      responseType = dev.fovea.encoder.v1.ReleaseRowsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.encoder.v1.ReleaseRowsRequest,
      dev.fovea.encoder.v1.ReleaseRowsResponse> getReleaseRowsMethod() {
    io.grpc.MethodDescriptor<dev.fovea.encoder.v1.ReleaseRowsRequest, dev.fovea.encoder.v1.ReleaseRowsResponse> getReleaseRowsMethod;
    if ((getReleaseRowsMethod = EncoderServiceGrpc.getReleaseRowsMethod) == null) {
      synchronized (EncoderServiceGrpc.class) {
        if ((getReleaseRowsMethod = EncoderServiceGrpc.getReleaseRowsMethod) == null) {
          EncoderServiceGrpc.getReleaseRowsMethod = getReleaseRowsMethod =
              io.grpc.MethodDescriptor.<dev.fovea.encoder.v1.ReleaseRowsRequest, dev.fovea.encoder.v1.ReleaseRowsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ReleaseRows"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.ReleaseRowsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.ReleaseRowsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new EncoderServiceMethodDescriptorSupplier("ReleaseRows"))
              .build();
        }
      }
    }
    return getReleaseRowsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.encoder.v1.ReadTextRequest,
      dev.fovea.encoder.v1.ReadTextResponse> getReadTextMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ReadText",
      requestType = dev.fovea.encoder.v1.ReadTextRequest.class,
      responseType = dev.fovea.encoder.v1.ReadTextResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.encoder.v1.ReadTextRequest,
      dev.fovea.encoder.v1.ReadTextResponse> getReadTextMethod() {
    io.grpc.MethodDescriptor<dev.fovea.encoder.v1.ReadTextRequest, dev.fovea.encoder.v1.ReadTextResponse> getReadTextMethod;
    if ((getReadTextMethod = EncoderServiceGrpc.getReadTextMethod) == null) {
      synchronized (EncoderServiceGrpc.class) {
        if ((getReadTextMethod = EncoderServiceGrpc.getReadTextMethod) == null) {
          EncoderServiceGrpc.getReadTextMethod = getReadTextMethod =
              io.grpc.MethodDescriptor.<dev.fovea.encoder.v1.ReadTextRequest, dev.fovea.encoder.v1.ReadTextResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ReadText"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.ReadTextRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.ReadTextResponse.getDefaultInstance()))
              .setSchemaDescriptor(new EncoderServiceMethodDescriptorSupplier("ReadText"))
              .build();
        }
      }
    }
    return getReadTextMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.encoder.v1.CountTokensRequest,
      dev.fovea.encoder.v1.CountTokensResponse> getCountTokensMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CountTokens",
      requestType = dev.fovea.encoder.v1.CountTokensRequest.class,
      responseType = dev.fovea.encoder.v1.CountTokensResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.encoder.v1.CountTokensRequest,
      dev.fovea.encoder.v1.CountTokensResponse> getCountTokensMethod() {
    io.grpc.MethodDescriptor<dev.fovea.encoder.v1.CountTokensRequest, dev.fovea.encoder.v1.CountTokensResponse> getCountTokensMethod;
    if ((getCountTokensMethod = EncoderServiceGrpc.getCountTokensMethod) == null) {
      synchronized (EncoderServiceGrpc.class) {
        if ((getCountTokensMethod = EncoderServiceGrpc.getCountTokensMethod) == null) {
          EncoderServiceGrpc.getCountTokensMethod = getCountTokensMethod =
              io.grpc.MethodDescriptor.<dev.fovea.encoder.v1.CountTokensRequest, dev.fovea.encoder.v1.CountTokensResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CountTokens"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.CountTokensRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.CountTokensResponse.getDefaultInstance()))
              .setSchemaDescriptor(new EncoderServiceMethodDescriptorSupplier("CountTokens"))
              .build();
        }
      }
    }
    return getCountTokensMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.encoder.v1.GetServerInfoRequest,
      dev.fovea.encoder.v1.GetServerInfoResponse> getGetServerInfoMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetServerInfo",
      requestType = dev.fovea.encoder.v1.GetServerInfoRequest.class,
      responseType = dev.fovea.encoder.v1.GetServerInfoResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.encoder.v1.GetServerInfoRequest,
      dev.fovea.encoder.v1.GetServerInfoResponse> getGetServerInfoMethod() {
    io.grpc.MethodDescriptor<dev.fovea.encoder.v1.GetServerInfoRequest, dev.fovea.encoder.v1.GetServerInfoResponse> getGetServerInfoMethod;
    if ((getGetServerInfoMethod = EncoderServiceGrpc.getGetServerInfoMethod) == null) {
      synchronized (EncoderServiceGrpc.class) {
        if ((getGetServerInfoMethod = EncoderServiceGrpc.getGetServerInfoMethod) == null) {
          EncoderServiceGrpc.getGetServerInfoMethod = getGetServerInfoMethod =
              io.grpc.MethodDescriptor.<dev.fovea.encoder.v1.GetServerInfoRequest, dev.fovea.encoder.v1.GetServerInfoResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetServerInfo"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.GetServerInfoRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.GetServerInfoResponse.getDefaultInstance()))
              .setSchemaDescriptor(new EncoderServiceMethodDescriptorSupplier("GetServerInfo"))
              .build();
        }
      }
    }
    return getGetServerInfoMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.encoder.v1.DeleteImageRequest,
      dev.fovea.encoder.v1.DeleteImageResponse> getDeleteImageMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "DeleteImage",
      requestType = dev.fovea.encoder.v1.DeleteImageRequest.class,
      responseType = dev.fovea.encoder.v1.DeleteImageResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.encoder.v1.DeleteImageRequest,
      dev.fovea.encoder.v1.DeleteImageResponse> getDeleteImageMethod() {
    io.grpc.MethodDescriptor<dev.fovea.encoder.v1.DeleteImageRequest, dev.fovea.encoder.v1.DeleteImageResponse> getDeleteImageMethod;
    if ((getDeleteImageMethod = EncoderServiceGrpc.getDeleteImageMethod) == null) {
      synchronized (EncoderServiceGrpc.class) {
        if ((getDeleteImageMethod = EncoderServiceGrpc.getDeleteImageMethod) == null) {
          EncoderServiceGrpc.getDeleteImageMethod = getDeleteImageMethod =
              io.grpc.MethodDescriptor.<dev.fovea.encoder.v1.DeleteImageRequest, dev.fovea.encoder.v1.DeleteImageResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "DeleteImage"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.DeleteImageRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.DeleteImageResponse.getDefaultInstance()))
              .setSchemaDescriptor(new EncoderServiceMethodDescriptorSupplier("DeleteImage"))
              .build();
        }
      }
    }
    return getDeleteImageMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.encoder.v1.PurgeTenantRequest,
      dev.fovea.encoder.v1.PurgeTenantResponse> getPurgeTenantMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "PurgeTenant",
      requestType = dev.fovea.encoder.v1.PurgeTenantRequest.class,
      responseType = dev.fovea.encoder.v1.PurgeTenantResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.encoder.v1.PurgeTenantRequest,
      dev.fovea.encoder.v1.PurgeTenantResponse> getPurgeTenantMethod() {
    io.grpc.MethodDescriptor<dev.fovea.encoder.v1.PurgeTenantRequest, dev.fovea.encoder.v1.PurgeTenantResponse> getPurgeTenantMethod;
    if ((getPurgeTenantMethod = EncoderServiceGrpc.getPurgeTenantMethod) == null) {
      synchronized (EncoderServiceGrpc.class) {
        if ((getPurgeTenantMethod = EncoderServiceGrpc.getPurgeTenantMethod) == null) {
          EncoderServiceGrpc.getPurgeTenantMethod = getPurgeTenantMethod =
              io.grpc.MethodDescriptor.<dev.fovea.encoder.v1.PurgeTenantRequest, dev.fovea.encoder.v1.PurgeTenantResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "PurgeTenant"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.PurgeTenantRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.PurgeTenantResponse.getDefaultInstance()))
              .setSchemaDescriptor(new EncoderServiceMethodDescriptorSupplier("PurgeTenant"))
              .build();
        }
      }
    }
    return getPurgeTenantMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fovea.encoder.v1.GetCacheStatsRequest,
      dev.fovea.encoder.v1.GetCacheStatsResponse> getGetCacheStatsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetCacheStats",
      requestType = dev.fovea.encoder.v1.GetCacheStatsRequest.class,
      responseType = dev.fovea.encoder.v1.GetCacheStatsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fovea.encoder.v1.GetCacheStatsRequest,
      dev.fovea.encoder.v1.GetCacheStatsResponse> getGetCacheStatsMethod() {
    io.grpc.MethodDescriptor<dev.fovea.encoder.v1.GetCacheStatsRequest, dev.fovea.encoder.v1.GetCacheStatsResponse> getGetCacheStatsMethod;
    if ((getGetCacheStatsMethod = EncoderServiceGrpc.getGetCacheStatsMethod) == null) {
      synchronized (EncoderServiceGrpc.class) {
        if ((getGetCacheStatsMethod = EncoderServiceGrpc.getGetCacheStatsMethod) == null) {
          EncoderServiceGrpc.getGetCacheStatsMethod = getGetCacheStatsMethod =
              io.grpc.MethodDescriptor.<dev.fovea.encoder.v1.GetCacheStatsRequest, dev.fovea.encoder.v1.GetCacheStatsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetCacheStats"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.GetCacheStatsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fovea.encoder.v1.GetCacheStatsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new EncoderServiceMethodDescriptorSupplier("GetCacheStats"))
              .build();
        }
      }
    }
    return getGetCacheStatsMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static EncoderServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<EncoderServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<EncoderServiceStub>() {
        @java.lang.Override
        public EncoderServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new EncoderServiceStub(channel, callOptions);
        }
      };
    return EncoderServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports all types of calls on the service
   */
  public static EncoderServiceBlockingV2Stub newBlockingV2Stub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<EncoderServiceBlockingV2Stub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<EncoderServiceBlockingV2Stub>() {
        @java.lang.Override
        public EncoderServiceBlockingV2Stub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new EncoderServiceBlockingV2Stub(channel, callOptions);
        }
      };
    return EncoderServiceBlockingV2Stub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static EncoderServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<EncoderServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<EncoderServiceBlockingStub>() {
        @java.lang.Override
        public EncoderServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new EncoderServiceBlockingStub(channel, callOptions);
        }
      };
    return EncoderServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static EncoderServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<EncoderServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<EncoderServiceFutureStub>() {
        @java.lang.Override
        public EncoderServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new EncoderServiceFutureStub(channel, callOptions);
        }
      };
    return EncoderServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * Stores images by content hash and encodes each to visual rows once.
   * </pre>
   */
  public interface AsyncService {

    /**
     * <pre>
     * Stores an image. The header and the bytes may share a message or be split over many. If the header carries the
     * digest of a stored image, the response comes at once and the client need not send the bytes. Idempotent.
     * </pre>
     */
    default io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.PutImageRequest> putImage(
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.PutImageResponse> responseObserver) {
      return io.grpc.stub.ServerCalls.asyncUnimplementedStreamingCall(getPutImageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the facts of a stored image. Fails with IMAGE_NOT_STORED if the image was never stored or is gone.
     * </pre>
     */
    default void describeImage(dev.fovea.encoder.v1.DescribeImageRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.DescribeImageResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getDescribeImageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Streams the rows of a stored image for a plan: a header, then chunks in order, then a summary.
     * </pre>
     */
    default void encode(dev.fovea.encoder.v1.EncodeRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.EncodeResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getEncodeMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the indices of the rows that Encode would send for the same plan, so that a prompt can be built before
     * the rows arrive. If only the tower can tell, the rows are computed and stored, and the next Encode is a hit.
     * </pre>
     */
    default void placeRows(dev.fovea.encoder.v1.PlaceRowsRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.PlaceRowsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getPlaceRowsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Writes the rows of a stored image into shared memory and returns their offset. The caller runs on the same host
     * and has opened the arena that GetServerInfo names. The checks are those of Encode. Fails with ARENA_FULL if the
     * arena has no room and with NOT_SERVED if there is no arena; use Encode then.
     * </pre>
     */
    default void leaseRows(dev.fovea.encoder.v1.LeaseRowsRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.LeaseRowsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getLeaseRowsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Releases leases before they expire, so that their memory can be reused. Idempotent.
     * </pre>
     */
    default void releaseRows(dev.fovea.encoder.v1.ReleaseRowsRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.ReleaseRowsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getReleaseRowsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the text of a stored image, read by OCR once and kept with the image. Fails with TEXT_NOT_FOUND if the image
     * shows no text, TEXT_READER_MISSING without a reader, TEXT_TOO_COSTLY above a limit of reading, TEXT_READER_CRASHED if
     * the image ends the reader's workers, and ENCODER_BUSY if too many images wait to be read.
     * </pre>
     */
    default void readText(dev.fovea.encoder.v1.ReadTextRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.ReadTextResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getReadTextMethod(), responseObserver);
    }

    /**
     * <pre>
     * Counts the tokens of an image from its width and height. Nothing is decoded.
     * </pre>
     */
    default void countTokens(dev.fovea.encoder.v1.CountTokensRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.CountTokensResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCountTokensMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the model, the limits, the features and the load.
     * </pre>
     */
    default void getServerInfo(dev.fovea.encoder.v1.GetServerInfoRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.GetServerInfoResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetServerInfoMethod(), responseObserver);
    }

    /**
     * <pre>
     * Deletes an image and all rows of its pixels. Deleting an image that is not stored succeeds with zeros.
     * </pre>
     */
    default void deleteImage(dev.fovea.encoder.v1.DeleteImageRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.DeleteImageResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getDeleteImageMethod(), responseObserver);
    }

    /**
     * <pre>
     * Deletes everything of a tenant. For tokens of role `service` or `operator`.
     * </pre>
     */
    default void purgeTenant(dev.fovea.encoder.v1.PurgeTenantRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.PurgeTenantResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getPurgeTenantMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the contents of the store and its hit counts.
     * </pre>
     */
    default void getCacheStats(dev.fovea.encoder.v1.GetCacheStatsRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.GetCacheStatsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetCacheStatsMethod(), responseObserver);
    }
  }

  /**
   * Base class for the server implementation of the service EncoderService.
   * <pre>
   * Stores images by content hash and encodes each to visual rows once.
   * </pre>
   */
  public static abstract class EncoderServiceImplBase
      implements io.grpc.BindableService, AsyncService {

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return EncoderServiceGrpc.bindService(this);
    }
  }

  /**
   * A stub to allow clients to do asynchronous rpc calls to service EncoderService.
   * <pre>
   * Stores images by content hash and encodes each to visual rows once.
   * </pre>
   */
  public static final class EncoderServiceStub
      extends io.grpc.stub.AbstractAsyncStub<EncoderServiceStub> {
    private EncoderServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected EncoderServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new EncoderServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Stores an image. The header and the bytes may share a message or be split over many. If the header carries the
     * digest of a stored image, the response comes at once and the client need not send the bytes. Idempotent.
     * </pre>
     */
    public io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.PutImageRequest> putImage(
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.PutImageResponse> responseObserver) {
      return io.grpc.stub.ClientCalls.asyncClientStreamingCall(
          getChannel().newCall(getPutImageMethod(), getCallOptions()), responseObserver);
    }

    /**
     * <pre>
     * Returns the facts of a stored image. Fails with IMAGE_NOT_STORED if the image was never stored or is gone.
     * </pre>
     */
    public void describeImage(dev.fovea.encoder.v1.DescribeImageRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.DescribeImageResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getDescribeImageMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Streams the rows of a stored image for a plan: a header, then chunks in order, then a summary.
     * </pre>
     */
    public void encode(dev.fovea.encoder.v1.EncodeRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.EncodeResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getEncodeMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns the indices of the rows that Encode would send for the same plan, so that a prompt can be built before
     * the rows arrive. If only the tower can tell, the rows are computed and stored, and the next Encode is a hit.
     * </pre>
     */
    public void placeRows(dev.fovea.encoder.v1.PlaceRowsRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.PlaceRowsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getPlaceRowsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Writes the rows of a stored image into shared memory and returns their offset. The caller runs on the same host
     * and has opened the arena that GetServerInfo names. The checks are those of Encode. Fails with ARENA_FULL if the
     * arena has no room and with NOT_SERVED if there is no arena; use Encode then.
     * </pre>
     */
    public void leaseRows(dev.fovea.encoder.v1.LeaseRowsRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.LeaseRowsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getLeaseRowsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Releases leases before they expire, so that their memory can be reused. Idempotent.
     * </pre>
     */
    public void releaseRows(dev.fovea.encoder.v1.ReleaseRowsRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.ReleaseRowsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getReleaseRowsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns the text of a stored image, read by OCR once and kept with the image. Fails with TEXT_NOT_FOUND if the image
     * shows no text, TEXT_READER_MISSING without a reader, TEXT_TOO_COSTLY above a limit of reading, TEXT_READER_CRASHED if
     * the image ends the reader's workers, and ENCODER_BUSY if too many images wait to be read.
     * </pre>
     */
    public void readText(dev.fovea.encoder.v1.ReadTextRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.ReadTextResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getReadTextMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Counts the tokens of an image from its width and height. Nothing is decoded.
     * </pre>
     */
    public void countTokens(dev.fovea.encoder.v1.CountTokensRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.CountTokensResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCountTokensMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns the model, the limits, the features and the load.
     * </pre>
     */
    public void getServerInfo(dev.fovea.encoder.v1.GetServerInfoRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.GetServerInfoResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetServerInfoMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Deletes an image and all rows of its pixels. Deleting an image that is not stored succeeds with zeros.
     * </pre>
     */
    public void deleteImage(dev.fovea.encoder.v1.DeleteImageRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.DeleteImageResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getDeleteImageMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Deletes everything of a tenant. For tokens of role `service` or `operator`.
     * </pre>
     */
    public void purgeTenant(dev.fovea.encoder.v1.PurgeTenantRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.PurgeTenantResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getPurgeTenantMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns the contents of the store and its hit counts.
     * </pre>
     */
    public void getCacheStats(dev.fovea.encoder.v1.GetCacheStatsRequest request,
        io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.GetCacheStatsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetCacheStatsMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * A stub to allow clients to do synchronous rpc calls to service EncoderService.
   * <pre>
   * Stores images by content hash and encodes each to visual rows once.
   * </pre>
   */
  public static final class EncoderServiceBlockingV2Stub
      extends io.grpc.stub.AbstractBlockingStub<EncoderServiceBlockingV2Stub> {
    private EncoderServiceBlockingV2Stub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected EncoderServiceBlockingV2Stub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new EncoderServiceBlockingV2Stub(channel, callOptions);
    }

    /**
     * <pre>
     * Stores an image. The header and the bytes may share a message or be split over many. If the header carries the
     * digest of a stored image, the response comes at once and the client need not send the bytes. Idempotent.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<dev.fovea.encoder.v1.PutImageRequest, dev.fovea.encoder.v1.PutImageResponse>
        putImage() {
      return io.grpc.stub.ClientCalls.blockingClientStreamingCall(
          getChannel(), getPutImageMethod(), getCallOptions());
    }

    /**
     * <pre>
     * Returns the facts of a stored image. Fails with IMAGE_NOT_STORED if the image was never stored or is gone.
     * </pre>
     */
    public dev.fovea.encoder.v1.DescribeImageResponse describeImage(dev.fovea.encoder.v1.DescribeImageRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getDescribeImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Streams the rows of a stored image for a plan: a header, then chunks in order, then a summary.
     * </pre>
     */
    @io.grpc.ExperimentalApi("https://github.com/grpc/grpc-java/issues/10918")
    public io.grpc.stub.BlockingClientCall<?, dev.fovea.encoder.v1.EncodeResponse>
        encode(dev.fovea.encoder.v1.EncodeRequest request) {
      return io.grpc.stub.ClientCalls.blockingV2ServerStreamingCall(
          getChannel(), getEncodeMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the indices of the rows that Encode would send for the same plan, so that a prompt can be built before
     * the rows arrive. If only the tower can tell, the rows are computed and stored, and the next Encode is a hit.
     * </pre>
     */
    public dev.fovea.encoder.v1.PlaceRowsResponse placeRows(dev.fovea.encoder.v1.PlaceRowsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getPlaceRowsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Writes the rows of a stored image into shared memory and returns their offset. The caller runs on the same host
     * and has opened the arena that GetServerInfo names. The checks are those of Encode. Fails with ARENA_FULL if the
     * arena has no room and with NOT_SERVED if there is no arena; use Encode then.
     * </pre>
     */
    public dev.fovea.encoder.v1.LeaseRowsResponse leaseRows(dev.fovea.encoder.v1.LeaseRowsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getLeaseRowsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Releases leases before they expire, so that their memory can be reused. Idempotent.
     * </pre>
     */
    public dev.fovea.encoder.v1.ReleaseRowsResponse releaseRows(dev.fovea.encoder.v1.ReleaseRowsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getReleaseRowsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the text of a stored image, read by OCR once and kept with the image. Fails with TEXT_NOT_FOUND if the image
     * shows no text, TEXT_READER_MISSING without a reader, TEXT_TOO_COSTLY above a limit of reading, TEXT_READER_CRASHED if
     * the image ends the reader's workers, and ENCODER_BUSY if too many images wait to be read.
     * </pre>
     */
    public dev.fovea.encoder.v1.ReadTextResponse readText(dev.fovea.encoder.v1.ReadTextRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getReadTextMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Counts the tokens of an image from its width and height. Nothing is decoded.
     * </pre>
     */
    public dev.fovea.encoder.v1.CountTokensResponse countTokens(dev.fovea.encoder.v1.CountTokensRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getCountTokensMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the model, the limits, the features and the load.
     * </pre>
     */
    public dev.fovea.encoder.v1.GetServerInfoResponse getServerInfo(dev.fovea.encoder.v1.GetServerInfoRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetServerInfoMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Deletes an image and all rows of its pixels. Deleting an image that is not stored succeeds with zeros.
     * </pre>
     */
    public dev.fovea.encoder.v1.DeleteImageResponse deleteImage(dev.fovea.encoder.v1.DeleteImageRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getDeleteImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Deletes everything of a tenant. For tokens of role `service` or `operator`.
     * </pre>
     */
    public dev.fovea.encoder.v1.PurgeTenantResponse purgeTenant(dev.fovea.encoder.v1.PurgeTenantRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getPurgeTenantMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the contents of the store and its hit counts.
     * </pre>
     */
    public dev.fovea.encoder.v1.GetCacheStatsResponse getCacheStats(dev.fovea.encoder.v1.GetCacheStatsRequest request) throws io.grpc.StatusException {
      return io.grpc.stub.ClientCalls.blockingV2UnaryCall(
          getChannel(), getGetCacheStatsMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do limited synchronous rpc calls to service EncoderService.
   * <pre>
   * Stores images by content hash and encodes each to visual rows once.
   * </pre>
   */
  public static final class EncoderServiceBlockingStub
      extends io.grpc.stub.AbstractBlockingStub<EncoderServiceBlockingStub> {
    private EncoderServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected EncoderServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new EncoderServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns the facts of a stored image. Fails with IMAGE_NOT_STORED if the image was never stored or is gone.
     * </pre>
     */
    public dev.fovea.encoder.v1.DescribeImageResponse describeImage(dev.fovea.encoder.v1.DescribeImageRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getDescribeImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Streams the rows of a stored image for a plan: a header, then chunks in order, then a summary.
     * </pre>
     */
    public java.util.Iterator<dev.fovea.encoder.v1.EncodeResponse> encode(
        dev.fovea.encoder.v1.EncodeRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getEncodeMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the indices of the rows that Encode would send for the same plan, so that a prompt can be built before
     * the rows arrive. If only the tower can tell, the rows are computed and stored, and the next Encode is a hit.
     * </pre>
     */
    public dev.fovea.encoder.v1.PlaceRowsResponse placeRows(dev.fovea.encoder.v1.PlaceRowsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getPlaceRowsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Writes the rows of a stored image into shared memory and returns their offset. The caller runs on the same host
     * and has opened the arena that GetServerInfo names. The checks are those of Encode. Fails with ARENA_FULL if the
     * arena has no room and with NOT_SERVED if there is no arena; use Encode then.
     * </pre>
     */
    public dev.fovea.encoder.v1.LeaseRowsResponse leaseRows(dev.fovea.encoder.v1.LeaseRowsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getLeaseRowsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Releases leases before they expire, so that their memory can be reused. Idempotent.
     * </pre>
     */
    public dev.fovea.encoder.v1.ReleaseRowsResponse releaseRows(dev.fovea.encoder.v1.ReleaseRowsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getReleaseRowsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the text of a stored image, read by OCR once and kept with the image. Fails with TEXT_NOT_FOUND if the image
     * shows no text, TEXT_READER_MISSING without a reader, TEXT_TOO_COSTLY above a limit of reading, TEXT_READER_CRASHED if
     * the image ends the reader's workers, and ENCODER_BUSY if too many images wait to be read.
     * </pre>
     */
    public dev.fovea.encoder.v1.ReadTextResponse readText(dev.fovea.encoder.v1.ReadTextRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getReadTextMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Counts the tokens of an image from its width and height. Nothing is decoded.
     * </pre>
     */
    public dev.fovea.encoder.v1.CountTokensResponse countTokens(dev.fovea.encoder.v1.CountTokensRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCountTokensMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the model, the limits, the features and the load.
     * </pre>
     */
    public dev.fovea.encoder.v1.GetServerInfoResponse getServerInfo(dev.fovea.encoder.v1.GetServerInfoRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetServerInfoMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Deletes an image and all rows of its pixels. Deleting an image that is not stored succeeds with zeros.
     * </pre>
     */
    public dev.fovea.encoder.v1.DeleteImageResponse deleteImage(dev.fovea.encoder.v1.DeleteImageRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getDeleteImageMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Deletes everything of a tenant. For tokens of role `service` or `operator`.
     * </pre>
     */
    public dev.fovea.encoder.v1.PurgeTenantResponse purgeTenant(dev.fovea.encoder.v1.PurgeTenantRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getPurgeTenantMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the contents of the store and its hit counts.
     * </pre>
     */
    public dev.fovea.encoder.v1.GetCacheStatsResponse getCacheStats(dev.fovea.encoder.v1.GetCacheStatsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetCacheStatsMethod(), getCallOptions(), request);
    }
  }

  /**
   * A stub to allow clients to do ListenableFuture-style rpc calls to service EncoderService.
   * <pre>
   * Stores images by content hash and encodes each to visual rows once.
   * </pre>
   */
  public static final class EncoderServiceFutureStub
      extends io.grpc.stub.AbstractFutureStub<EncoderServiceFutureStub> {
    private EncoderServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected EncoderServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new EncoderServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns the facts of a stored image. Fails with IMAGE_NOT_STORED if the image was never stored or is gone.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.encoder.v1.DescribeImageResponse> describeImage(
        dev.fovea.encoder.v1.DescribeImageRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getDescribeImageMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns the indices of the rows that Encode would send for the same plan, so that a prompt can be built before
     * the rows arrive. If only the tower can tell, the rows are computed and stored, and the next Encode is a hit.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.encoder.v1.PlaceRowsResponse> placeRows(
        dev.fovea.encoder.v1.PlaceRowsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getPlaceRowsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Writes the rows of a stored image into shared memory and returns their offset. The caller runs on the same host
     * and has opened the arena that GetServerInfo names. The checks are those of Encode. Fails with ARENA_FULL if the
     * arena has no room and with NOT_SERVED if there is no arena; use Encode then.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.encoder.v1.LeaseRowsResponse> leaseRows(
        dev.fovea.encoder.v1.LeaseRowsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getLeaseRowsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Releases leases before they expire, so that their memory can be reused. Idempotent.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.encoder.v1.ReleaseRowsResponse> releaseRows(
        dev.fovea.encoder.v1.ReleaseRowsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getReleaseRowsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns the text of a stored image, read by OCR once and kept with the image. Fails with TEXT_NOT_FOUND if the image
     * shows no text, TEXT_READER_MISSING without a reader, TEXT_TOO_COSTLY above a limit of reading, TEXT_READER_CRASHED if
     * the image ends the reader's workers, and ENCODER_BUSY if too many images wait to be read.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.encoder.v1.ReadTextResponse> readText(
        dev.fovea.encoder.v1.ReadTextRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getReadTextMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Counts the tokens of an image from its width and height. Nothing is decoded.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.encoder.v1.CountTokensResponse> countTokens(
        dev.fovea.encoder.v1.CountTokensRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCountTokensMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns the model, the limits, the features and the load.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.encoder.v1.GetServerInfoResponse> getServerInfo(
        dev.fovea.encoder.v1.GetServerInfoRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetServerInfoMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Deletes an image and all rows of its pixels. Deleting an image that is not stored succeeds with zeros.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.encoder.v1.DeleteImageResponse> deleteImage(
        dev.fovea.encoder.v1.DeleteImageRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getDeleteImageMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Deletes everything of a tenant. For tokens of role `service` or `operator`.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.encoder.v1.PurgeTenantResponse> purgeTenant(
        dev.fovea.encoder.v1.PurgeTenantRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getPurgeTenantMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns the contents of the store and its hit counts.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fovea.encoder.v1.GetCacheStatsResponse> getCacheStats(
        dev.fovea.encoder.v1.GetCacheStatsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetCacheStatsMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_DESCRIBE_IMAGE = 0;
  private static final int METHODID_ENCODE = 1;
  private static final int METHODID_PLACE_ROWS = 2;
  private static final int METHODID_LEASE_ROWS = 3;
  private static final int METHODID_RELEASE_ROWS = 4;
  private static final int METHODID_READ_TEXT = 5;
  private static final int METHODID_COUNT_TOKENS = 6;
  private static final int METHODID_GET_SERVER_INFO = 7;
  private static final int METHODID_DELETE_IMAGE = 8;
  private static final int METHODID_PURGE_TENANT = 9;
  private static final int METHODID_GET_CACHE_STATS = 10;
  private static final int METHODID_PUT_IMAGE = 11;

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
          serviceImpl.describeImage((dev.fovea.encoder.v1.DescribeImageRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.DescribeImageResponse>) responseObserver);
          break;
        case METHODID_ENCODE:
          serviceImpl.encode((dev.fovea.encoder.v1.EncodeRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.EncodeResponse>) responseObserver);
          break;
        case METHODID_PLACE_ROWS:
          serviceImpl.placeRows((dev.fovea.encoder.v1.PlaceRowsRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.PlaceRowsResponse>) responseObserver);
          break;
        case METHODID_LEASE_ROWS:
          serviceImpl.leaseRows((dev.fovea.encoder.v1.LeaseRowsRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.LeaseRowsResponse>) responseObserver);
          break;
        case METHODID_RELEASE_ROWS:
          serviceImpl.releaseRows((dev.fovea.encoder.v1.ReleaseRowsRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.ReleaseRowsResponse>) responseObserver);
          break;
        case METHODID_READ_TEXT:
          serviceImpl.readText((dev.fovea.encoder.v1.ReadTextRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.ReadTextResponse>) responseObserver);
          break;
        case METHODID_COUNT_TOKENS:
          serviceImpl.countTokens((dev.fovea.encoder.v1.CountTokensRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.CountTokensResponse>) responseObserver);
          break;
        case METHODID_GET_SERVER_INFO:
          serviceImpl.getServerInfo((dev.fovea.encoder.v1.GetServerInfoRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.GetServerInfoResponse>) responseObserver);
          break;
        case METHODID_DELETE_IMAGE:
          serviceImpl.deleteImage((dev.fovea.encoder.v1.DeleteImageRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.DeleteImageResponse>) responseObserver);
          break;
        case METHODID_PURGE_TENANT:
          serviceImpl.purgeTenant((dev.fovea.encoder.v1.PurgeTenantRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.PurgeTenantResponse>) responseObserver);
          break;
        case METHODID_GET_CACHE_STATS:
          serviceImpl.getCacheStats((dev.fovea.encoder.v1.GetCacheStatsRequest) request,
              (io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.GetCacheStatsResponse>) responseObserver);
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
              (io.grpc.stub.StreamObserver<dev.fovea.encoder.v1.PutImageResponse>) responseObserver);
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
              dev.fovea.encoder.v1.PutImageRequest,
              dev.fovea.encoder.v1.PutImageResponse>(
                service, METHODID_PUT_IMAGE)))
        .addMethod(
          getDescribeImageMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.encoder.v1.DescribeImageRequest,
              dev.fovea.encoder.v1.DescribeImageResponse>(
                service, METHODID_DESCRIBE_IMAGE)))
        .addMethod(
          getEncodeMethod(),
          io.grpc.stub.ServerCalls.asyncServerStreamingCall(
            new MethodHandlers<
              dev.fovea.encoder.v1.EncodeRequest,
              dev.fovea.encoder.v1.EncodeResponse>(
                service, METHODID_ENCODE)))
        .addMethod(
          getPlaceRowsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.encoder.v1.PlaceRowsRequest,
              dev.fovea.encoder.v1.PlaceRowsResponse>(
                service, METHODID_PLACE_ROWS)))
        .addMethod(
          getLeaseRowsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.encoder.v1.LeaseRowsRequest,
              dev.fovea.encoder.v1.LeaseRowsResponse>(
                service, METHODID_LEASE_ROWS)))
        .addMethod(
          getReleaseRowsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.encoder.v1.ReleaseRowsRequest,
              dev.fovea.encoder.v1.ReleaseRowsResponse>(
                service, METHODID_RELEASE_ROWS)))
        .addMethod(
          getReadTextMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.encoder.v1.ReadTextRequest,
              dev.fovea.encoder.v1.ReadTextResponse>(
                service, METHODID_READ_TEXT)))
        .addMethod(
          getCountTokensMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.encoder.v1.CountTokensRequest,
              dev.fovea.encoder.v1.CountTokensResponse>(
                service, METHODID_COUNT_TOKENS)))
        .addMethod(
          getGetServerInfoMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.encoder.v1.GetServerInfoRequest,
              dev.fovea.encoder.v1.GetServerInfoResponse>(
                service, METHODID_GET_SERVER_INFO)))
        .addMethod(
          getDeleteImageMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.encoder.v1.DeleteImageRequest,
              dev.fovea.encoder.v1.DeleteImageResponse>(
                service, METHODID_DELETE_IMAGE)))
        .addMethod(
          getPurgeTenantMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.encoder.v1.PurgeTenantRequest,
              dev.fovea.encoder.v1.PurgeTenantResponse>(
                service, METHODID_PURGE_TENANT)))
        .addMethod(
          getGetCacheStatsMethod(),
          io.grpc.stub.ServerCalls.asyncUnaryCall(
            new MethodHandlers<
              dev.fovea.encoder.v1.GetCacheStatsRequest,
              dev.fovea.encoder.v1.GetCacheStatsResponse>(
                service, METHODID_GET_CACHE_STATS)))
        .build();
  }

  private static abstract class EncoderServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    EncoderServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.fovea.encoder.v1.Encoder.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("EncoderService");
    }
  }

  private static final class EncoderServiceFileDescriptorSupplier
      extends EncoderServiceBaseDescriptorSupplier {
    EncoderServiceFileDescriptorSupplier() {}
  }

  private static final class EncoderServiceMethodDescriptorSupplier
      extends EncoderServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final java.lang.String methodName;

    EncoderServiceMethodDescriptorSupplier(java.lang.String methodName) {
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
      synchronized (EncoderServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new EncoderServiceFileDescriptorSupplier())
              .addMethod(getPutImageMethod())
              .addMethod(getDescribeImageMethod())
              .addMethod(getEncodeMethod())
              .addMethod(getPlaceRowsMethod())
              .addMethod(getLeaseRowsMethod())
              .addMethod(getReleaseRowsMethod())
              .addMethod(getReadTextMethod())
              .addMethod(getCountTokensMethod())
              .addMethod(getGetServerInfoMethod())
              .addMethod(getDeleteImageMethod())
              .addMethod(getPurgeTenantMethod())
              .addMethod(getGetCacheStatsMethod())
              .build();
        }
      }
    }
    return result;
  }
}
