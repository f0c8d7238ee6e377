package interop;

import static interop.Report.same;
import static interop.Report.that;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.ProtocolNegotiation;
import software.amazon.awssdk.http.SdkHttpClient;
import software.amazon.awssdk.http.apache.ApacheHttpClient;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.ConsumerStatus;
import software.amazon.awssdk.services.kinesis.model.EncryptionType;
import software.amazon.awssdk.services.kinesis.model.GetRecordsResponse;
import software.amazon.awssdk.services.kinesis.model.InvalidArgumentException;
import software.amazon.awssdk.services.kinesis.model.MetricsName;
import software.amazon.awssdk.services.kinesis.model.PutRecordResponse;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequestEntry;
import software.amazon.awssdk.services.kinesis.model.Record;
import software.amazon.awssdk.services.kinesis.model.ResourceInUseException;
import software.amazon.awssdk.services.kinesis.model.ResourceNotFoundException;
import software.amazon.awssdk.services.kinesis.model.ScalingType;
import software.amazon.awssdk.services.kinesis.model.Shard;
import software.amazon.awssdk.services.kinesis.model.ShardFilterType;
import software.amazon.awssdk.services.kinesis.model.ShardIteratorType;
import software.amazon.awssdk.services.kinesis.model.StreamMode;
import software.amazon.awssdk.services.kinesis.model.StreamStatus;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardEvent;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardResponseHandler;
import software.amazon.awssdk.services.kinesis.model.Tag;

/** Every operation that matters, through each kind of client. */
public final class Sdk2 {
  private final Report report;
  private final String kind;
  private final KinesisClient kinesis;
  private String stream;
  private String arn;

  private Sdk2(Report report, String kind, KinesisClient kinesis) {
    this.report = report;
    this.kind = kind;
    this.kinesis = kinesis;
    stream = "sdk2-" + kind.replaceAll("[^a-z0-9]+", "-");
  }

  public static void main(String[] args) throws Exception {
    Trust.install();
    Report report = new Report("software.amazon.awssdk:kinesis", KinesisClient.class);
    Region region = Region.of(Env.region());
    SdkHttpClient apache = ApacheHttpClient.create();
    SdkHttpClient url = UrlConnectionHttpClient.create();
    String plain = Env.get("STREAMD_PLAIN", "");

    sync(report, "apache", region, apache);
    sync(report, "url-connection", region, url);
    async(report, "netty http1", async(region, Env.kinesis().toString(), Protocol.HTTP1_1));
    async(report, "netty http2", async(region, Env.kinesis().toString(), Protocol.HTTP2));
    // As versions before 2.30 did: HTTP/2 inside TLS of which nothing was agreed.
    async(report, "netty http2 without alpn", KinesisAsyncClient.builder().region(region)
        .endpointOverride(Env.kinesis()).httpClientBuilder(NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP2)
            .protocolNegotiation(ProtocolNegotiation.ASSUME_PROTOCOL)).build());
    if (!plain.isEmpty()) {
      async(report, "netty h2c", async(region, plain, Protocol.HTTP2));
    }
    Tables.run(report, region);
    report.exit();
  }

  /** KINDS leaves out all clients but some. */
  private static boolean wanted(String kind) {
    String kinds = Env.get("KINDS", "");
    return kinds.isEmpty() || List.of(kinds.split(",")).contains(kind);
  }

  private static void sync(Report report, String kind, Region region, SdkHttpClient http) {
    if (wanted(kind)) {
      new Sdk2(report, kind, KinesisClient.builder().region(region).endpointOverride(Env.kinesis()).httpClient(http)
          .build()).all();
    }
  }

  private static void async(Report report, String kind, KinesisAsyncClient client) {
    if (!wanted(kind)) {
      return;
    }
    new Sdk2(report, kind, over(client)).all();
    if (!kind.endsWith("http1")) { // events need HTTP/2
      fanout(report, kind, client);
    }
  }

  private static KinesisAsyncClient async(Region region, String endpoint, Protocol protocol) {
    return KinesisAsyncClient.builder().region(region).endpointOverride(java.net.URI.create(endpoint))
        .httpClientBuilder(NettyNioAsyncHttpClient.builder().protocol(protocol)).build();
  }

  /** The asynchronous client with the methods of the synchronous one. */
  static KinesisClient over(KinesisAsyncClient async) {
    return (KinesisClient) Proxy.newProxyInstance(
        KinesisClient.class.getClassLoader(), new Class<?>[] {KinesisClient.class}, (proxy, m, args) -> {
          try {
            Object answer =
                KinesisAsyncClient.class.getMethod(m.getName(), m.getParameterTypes()).invoke(async, args);
            return answer instanceof CompletableFuture<?> f ? f.get(30, TimeUnit.SECONDS) : answer;
          } catch (InvocationTargetException e) {
            throw e.getCause();
          } catch (ExecutionException e) {
            throw e.getCause();
          }
        });
  }

  private void check(String what, Report.Check c) {
    report.check(kind + ": " + what, c);
  }

  /** Without the ids of requests. */
  static String text(AwsServiceException e) {
    return e.awsErrorDetails().errorCode() + ": " + e.awsErrorDetails().errorMessage();
  }

  static <T extends Throwable> T thrown(Class<T> want, Report.Check c) {
    try {
      c.run();
    } catch (Throwable t) {
      if (want.isInstance(t)) {
        return want.cast(t);
      }
      throw new AssertionError("thrown is " + t + ", want " + want.getName(), t);
    }
    throw new AssertionError("nothing was thrown, want " + want.getName());
  }

  private void active() throws InterruptedException {
    for (int i = 0; i < 100; i++) {
      if (kinesis.describeStreamSummary(r -> r.streamName(stream)).streamDescriptionSummary().streamStatus()
          == StreamStatus.ACTIVE) {
        return;
      }
      Thread.sleep(50);
    }
    throw new AssertionError("the stream does not become active");
  }

  private void all() {
    check("CreateStream, DescribeStream, DescribeStreamSummary", () -> {
      Instant before = Instant.now().minusSeconds(5);
      kinesis.createStream(r -> r.streamName(stream).shardCount(2).tags(Map.of("made", "here")));
      active();
      var d = kinesis.describeStream(r -> r.streamName(stream)).streamDescription();
      arn = d.streamARN();
      same("number of shards", d.shards().size(), 2);
      same("hasMoreShards", d.hasMoreShards(), false);
      same("retention", d.retentionPeriodHours(), 24);
      same("mode", d.streamModeDetails().streamMode(), StreamMode.PROVISIONED);
      that(d.streamCreationTimestamp().isAfter(before)
          && d.streamCreationTimestamp().isBefore(Instant.now().plusSeconds(5)),
          "created at " + d.streamCreationTimestamp());
      var s = kinesis.describeStreamSummary(r -> r.streamARN(arn)).streamDescriptionSummary();
      same("open shards", s.openShardCount(), 2);
      same("name", s.streamName(), stream);
      return arn;
    });
    check("CreateStream of a stream that is there", () -> text(thrown(ResourceInUseException.class, () -> kinesis.createStream(r -> r.streamName(stream).shardCount(1)))));
    check("an unknown stream", () -> text(thrown(ResourceNotFoundException.class, () -> kinesis.describeStreamSummary(r -> r.streamName("nobody")))));
    check("an argument that does not fit", () -> text(thrown(InvalidArgumentException.class, () -> kinesis.getRecords(r -> r.shardIterator("nonsense")))));
    check("ListStreams", () -> {
      var l = kinesis.listStreams(r -> r.limit(100));
      that(l.streamNames().contains(stream), "streams " + l.streamNames());
      that(l.streamSummaries().stream().anyMatch(s -> s.streamARN().equals(arn)), "summaries");
      return l.streamNames().size() + " streams";
    });
    records();
    shards();
    check("IncreaseStreamRetentionPeriod, DecreaseStreamRetentionPeriod", () -> {
      kinesis.increaseStreamRetentionPeriod(r -> r.streamName(stream).retentionPeriodHours(48));
      active();
      same("retention", kinesis.describeStreamSummary(r -> r.streamName(stream)).streamDescriptionSummary()
          .retentionPeriodHours(), 48);
      kinesis.decreaseStreamRetentionPeriod(r -> r.streamName(stream).retentionPeriodHours(24));
      active();
      return "";
    });
    check("AddTagsToStream, ListTagsForStream, RemoveTagsFromStream", () -> {
      kinesis.addTagsToStream(r -> r.streamName(stream).tags(Map.of("a", "1", "b", "")));
      same("tags", kinesis.listTagsForStream(r -> r.streamName(stream)).tags(), List.of(
          tag("a", "1"), tag("b", ""), tag("made", "here")));
      kinesis.removeTagsFromStream(r -> r.streamName(stream).tagKeys("a", "made"));
      same("tags", kinesis.listTagsForStream(r -> r.streamName(stream)).tags(), List.of(tag("b", "")));
      return "";
    });
    check("TagResource, ListTagsForResource, UntagResource", () -> {
      kinesis.tagResource(r -> r.resourceARN(arn).tags(Map.of("c", "3")));
      same("tags", kinesis.listTagsForResource(r -> r.resourceARN(arn)).tags(), List.of(tag("b", ""), tag("c", "3")));
      kinesis.untagResource(r -> r.resourceARN(arn).tagKeys("b", "c"));
      same("tags", kinesis.listTagsForResource(r -> r.resourceARN(arn)).tags(), List.of());
      return "";
    });
    check("EnableEnhancedMonitoring, DisableEnhancedMonitoring", () -> {
      var on = kinesis.enableEnhancedMonitoring(r -> r.streamName(stream).shardLevelMetrics(MetricsName.INCOMING_BYTES));
      same("metrics", on.desiredShardLevelMetrics(), List.of(MetricsName.INCOMING_BYTES));
      active();
      var off = kinesis.disableEnhancedMonitoring(r -> r.streamName(stream).shardLevelMetrics(MetricsName.ALL));
      same("metrics", off.desiredShardLevelMetrics(), List.of());
      active();
      return "";
    });
    check("StartStreamEncryption, StopStreamEncryption", () -> {
      kinesis.startStreamEncryption(
          r -> r.streamName(stream).encryptionType(EncryptionType.KMS).keyId("alias/aws/kinesis"));
      active();
      var s = kinesis.describeStreamSummary(r -> r.streamName(stream)).streamDescriptionSummary();
      same("encryption", s.encryptionType(), EncryptionType.KMS);
      kinesis.stopStreamEncryption(
          r -> r.streamName(stream).encryptionType(EncryptionType.KMS).keyId("alias/aws/kinesis"));
      active();
      return s.keyId();
    });
    check("PutResourcePolicy, GetResourcePolicy, DeleteResourcePolicy", () -> {
      String policy = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"s\",\"Effect\":\"Allow\",\"Principal\":"
          + "{\"AWS\":\"arn:aws:iam::123456789012:root\"},\"Action\":\"kinesis:GetRecords\",\"Resource\":\"" + arn
          + "\"}]}";
      kinesis.putResourcePolicy(r -> r.resourceARN(arn).policy(policy));
      same("policy", kinesis.getResourcePolicy(r -> r.resourceARN(arn)).policy(), policy);
      kinesis.deleteResourcePolicy(r -> r.resourceARN(arn));
      return "";
    });
    check("RegisterStreamConsumer, DescribeStreamConsumer, ListStreamConsumers, DeregisterStreamConsumer", () -> {
      var c = kinesis.registerStreamConsumer(r -> r.streamARN(arn).consumerName("reader")).consumer();
      for (int i = 0; ; i++) {
        var d = kinesis.describeStreamConsumer(r -> r.streamARN(arn).consumerName("reader")).consumerDescription();
        same("stream", d.streamARN(), arn);
        if (d.consumerStatus() == ConsumerStatus.ACTIVE) {
          break;
        }
        that(i < 100, "the consumer does not become active");
        Thread.sleep(50);
      }
      var l = kinesis.listStreamConsumers(r -> r.streamARN(arn)).consumers();
      same("consumers", l.get(0).consumerARN(), c.consumerARN());
      kinesis.deregisterStreamConsumer(r -> r.consumerARN(c.consumerARN()));
      return c.consumerARN();
    });
    check("UpdateStreamMode, UpdateMaxRecordSize", () -> {
      kinesis.updateStreamMode(r -> r.streamARN(arn).streamModeDetails(m -> m.streamMode(StreamMode.ON_DEMAND)));
      active();
      same("mode", kinesis.describeStreamSummary(r -> r.streamName(stream)).streamDescriptionSummary()
          .streamModeDetails().streamMode(), StreamMode.ON_DEMAND);
      kinesis.updateStreamMode(r -> r.streamARN(arn).streamModeDetails(m -> m.streamMode(StreamMode.PROVISIONED)));
      active();
      kinesis.updateMaxRecordSize(r -> r.streamARN(arn).maxRecordSizeInKiB(2048));
      active();
      same("maximum", kinesis.describeStreamSummary(r -> r.streamName(stream)).streamDescriptionSummary()
          .maxRecordSizeInKiB(), 2048);
      return "";
    });
    check("DescribeLimits, DescribeAccountSettings", () -> {
      var l = kinesis.describeLimits();
      that(l.shardLimit() >= l.openShardCount(), l.toString());
      kinesis.describeAccountSettings(r -> {});
      return l.openShardCount() + " of " + l.shardLimit() + " shards";
    });
    check("DeleteStream", () -> {
      kinesis.deleteStream(r -> r.streamName(stream).enforceConsumerDeletion(true));
      for (int i = 0; i < 100; i++) {
        try {
          kinesis.describeStreamSummary(r -> r.streamName(stream));
        } catch (ResourceNotFoundException e) {
          return "";
        }
        Thread.sleep(50);
      }
      throw new AssertionError("the stream stays");
    });
  }

  private static Tag tag(String key, String value) {
    return Tag.builder().key(key).value(value).build();
  }

  private void records() {
    List<PutRecordResponse> put = new ArrayList<>();
    byte[] all = new byte[256];
    for (int i = 0; i < all.length; i++) {
      all[i] = (byte) i;
    }
    Instant before = Instant.now();
    check("PutRecord of every byte, and of none", () -> {
      put.add(kinesis.putRecord(r -> r.streamName(stream).partitionKey("k\u00e9y").explicitHashKey("0")
          .data(SdkBytes.fromByteArray(all))));
      put.add(kinesis.putRecord(r -> r.streamARN(arn).partitionKey("none").explicitHashKey("0")
          .sequenceNumberForOrdering(put.get(0).sequenceNumber()).data(SdkBytes.fromByteArray(new byte[0]))));
      same("shard", put.get(1).shardId(), "shardId-000000000000");
      that(put.get(1).sequenceNumber().compareTo(put.get(0).sequenceNumber()) > 0, "sequence numbers");
      return put.get(1).sequenceNumber();
    });
    check("PutRecords", () -> {
      List<PutRecordsRequestEntry> entries = new ArrayList<>();
      for (int i = 0; i < 500; i++) {
        entries.add(PutRecordsRequestEntry.builder().partitionKey("key-" + i)
            .data(SdkBytes.fromUtf8String("record " + i)).build());
      }
      var out = kinesis.putRecords(r -> r.streamName(stream).records(entries));
      same("failed", out.failedRecordCount(), 0);
      same("answers", out.records().size(), 500);
      return "500 records";
    });
    check("a record of 1 MiB", () -> {
      byte[] big = new byte[(1 << 20) - 3];
      kinesis.putRecord(r -> r.streamName(stream).partitionKey("big").explicitHashKey("0")
          .data(SdkBytes.fromByteArray(big)));
      return "";
    });
    check("GetShardIterator of each type, GetRecords", () -> {
      List<Record> got = read(iterator(ShardIteratorType.TRIM_HORIZON, null, null));
      Record first = got.get(0);
      same("key", first.partitionKey(), "k\u00e9y");
      that(java.util.Arrays.equals(first.data().asByteArray(), all), "the bytes are not those that were put");
      same("no bytes", got.get(1).data().asByteArray().length, 0);
      that(!first.approximateArrivalTimestamp().isBefore(before.minusMillis(5))
          && first.approximateArrivalTimestamp().isBefore(Instant.now().plusSeconds(1)),
          "arrived at " + first.approximateArrivalTimestamp() + ", put at " + before);
      same("at", read(iterator(ShardIteratorType.AT_SEQUENCE_NUMBER, got.get(1).sequenceNumber(), null)).get(0),
          got.get(1));
      same("after", read(iterator(ShardIteratorType.AFTER_SEQUENCE_NUMBER, got.get(0).sequenceNumber(), null)).get(0),
          got.get(1));
      same("at a time", read(iterator(ShardIteratorType.AT_TIMESTAMP, null, first.approximateArrivalTimestamp())).get(0),
          got.get(0));
      same("at a time before", read(iterator(ShardIteratorType.AT_TIMESTAMP, null, before.minusSeconds(60))).size(),
          got.size());
      String latest = iterator(ShardIteratorType.LATEST, null, null);
      GetRecordsResponse none = kinesis.getRecords(r -> r.shardIterator(latest).limit(1));
      same("records", none.records(), List.of());
      same("behind", none.millisBehindLatest(), 0L);
      return got.size() + " records";
    });
  }

  private String iterator(ShardIteratorType type, String seq, Instant at) {
    return kinesis.getShardIterator(r -> r.streamName(stream).shardId("shardId-000000000000").shardIteratorType(type)
        .startingSequenceNumber(seq).timestamp(at)).shardIterator();
  }

  private List<Record> read(String iterator) {
    List<Record> all = new ArrayList<>();
    while (iterator != null) {
      String it = iterator;
      GetRecordsResponse out = kinesis.getRecords(r -> r.shardIterator(it).limit(10_000).streamARN(arn));
      all.addAll(out.records());
      if (out.records().isEmpty() && out.millisBehindLatest() == 0) {
        break;
      }
      iterator = out.nextShardIterator();
    }
    return all;
  }

  private void shards() {
    check("ListShards with tokens and filters", () -> {
      var one = kinesis.listShards(r -> r.streamName(stream).maxResults(1));
      same("shards", one.shards().size(), 1);
      var two = kinesis.listShards(r -> r.nextToken(one.nextToken()));
      same("shards", two.shards().size(), 1);
      same("token", two.nextToken(), null);
      for (ShardFilterType t : List.of(ShardFilterType.AT_LATEST, ShardFilterType.AT_TRIM_HORIZON,
          ShardFilterType.FROM_TRIM_HORIZON)) {
        same(t.toString(), kinesis.listShards(r -> r.streamName(stream).shardFilter(f -> f.type(t))).shards().size(), 2);
      }
      same("at a time", kinesis.listShards(r -> r.streamName(stream).shardFilter(
          f -> f.type(ShardFilterType.AT_TIMESTAMP).timestamp(Instant.now()))).shards().size(), 2);
      return "";
    });
    check("SplitShard, MergeShards, UpdateShardCount", () -> {
      kinesis.splitShard(r -> r.streamName(stream).shardToSplit("shardId-000000000000")
          .newStartingHashKey("85070591730234615865843651857942052864"));
      active();
      kinesis.mergeShards(r -> r.streamName(stream).shardToMerge("shardId-000000000002")
          .adjacentShardToMerge("shardId-000000000003"));
      active();
      var u = kinesis.updateShardCount(r -> r.streamName(stream).targetShardCount(4)
          .scalingType(ScalingType.UNIFORM_SCALING));
      same("from", u.currentShardCount(), 2);
      same("to", u.targetShardCount(), 4);
      active();
      List<Shard> list = kinesis.listShards(r -> r.streamName(stream)).shards();
      same("parent", list.get(2).parentShardId(), "shardId-000000000000");
      same("other parent", list.get(4).adjacentParentShardId(), "shardId-000000000003");
      return list.size() + " shards";
    });
    check("the end of a shard names its children", () -> {
      String it = iterator(ShardIteratorType.LATEST, null, null);
      var out = kinesis.getRecords(r -> r.shardIterator(it));
      same("next", out.nextShardIterator(), null);
      same("children", out.childShards().size(), 2);
      same("their parents", out.childShards().get(0).parentShards(), List.of("shardId-000000000000"));
      return "";
    });
  }

  /** SubscribeToShard: records as they come, cancelling, and the end of a shard. */
  private static void fanout(Report report, String kind, KinesisAsyncClient async) {
    KinesisClient kinesis = over(async);
    String stream = "fanout-" + kind.replaceAll("[^a-z0-9]+", "-");
    report.check(kind + ": SubscribeToShard", () -> {
      kinesis.createStream(r -> r.streamName(stream).shardCount(1));
      String arn = kinesis.describeStreamSummary(r -> r.streamName(stream)).streamDescriptionSummary().streamARN();
      String consumer = kinesis.registerStreamConsumer(r -> r.streamARN(arn).consumerName("c")).consumer().consumerARN();
      for (int i = 0; kinesis.describeStreamConsumer(r -> r.consumerARN(consumer)).consumerDescription()
          .consumerStatus() != ConsumerStatus.ACTIVE; i++) {
        that(i < 100, "the consumer does not become active");
        Thread.sleep(50);
      }
      kinesis.putRecord(r -> r.streamName(stream).partitionKey("k").data(SdkBytes.fromUtf8String("before")));
      List<SubscribeToShardEvent> events = new ArrayList<>();
      CountDownLatch responded = new CountDownLatch(1);
      CountDownLatch two = new CountDownLatch(2);
      CountDownLatch complete = new CountDownLatch(1);
      List<Throwable> errors = new ArrayList<>();
      CompletableFuture<Void> done = async.subscribeToShard(
          r -> r.consumerARN(consumer).shardId("shardId-000000000000")
              .startingPosition(p -> p.type(ShardIteratorType.TRIM_HORIZON)),
          SubscribeToShardResponseHandler.builder()
              .onResponse(r -> responded.countDown())
              .onError(errors::add)
              .onComplete(complete::countDown)
              .subscriber(e -> {
                if (e instanceof SubscribeToShardEvent s) {
                  synchronized (events) {
                    events.add(s);
                  }
                  s.records().forEach(r -> two.countDown());
                }
              }).build());
      that(responded.await(10, TimeUnit.SECONDS), "no response: " + errors);
      kinesis.putRecord(r -> r.streamName(stream).partitionKey("k").data(SdkBytes.fromUtf8String("after")));
      that(two.await(10, TimeUnit.SECONDS), "records are missing: " + errors);
      kinesis.splitShard(r -> r.streamName(stream).shardToSplit("shardId-000000000000")
          .newStartingHashKey("170141183460469231731687303715884105728"));
      done.get(10, TimeUnit.SECONDS);
      that(complete.await(10, TimeUnit.SECONDS), "no end: " + errors);
      SubscribeToShardEvent last = events.get(events.size() - 1);
      same("continuation", last.continuationSequenceNumber(), null);
      same("children", last.childShards().size(), 2);
      List<String> texts = new ArrayList<>();
      for (SubscribeToShardEvent e : events) {
        for (Record r : e.records()) {
          texts.add(r.data().asString(StandardCharsets.UTF_8));
          that(Duration.between(r.approximateArrivalTimestamp(), Instant.now()).abs().toSeconds() < 60,
              "arrived at " + r.approximateArrivalTimestamp());
        }
      }
      same("records", texts, List.of("before", "after"));
      kinesis.deleteStream(r -> r.streamName(stream).enforceConsumerDeletion(true));
      return events.size() + " events";
    });
    report.check(kind + ": SubscribeToShard of a consumer that is not there", () -> {
      CompletableFuture<Void> done = async.subscribeToShard(
          r -> r.consumerARN("arn:aws:kinesis:us-east-1:000000000000:stream/nobody/consumer/c:1")
              .shardId("shardId-000000000000").startingPosition(p -> p.type(ShardIteratorType.LATEST)),
          SubscribeToShardResponseHandler.builder().subscriber(e -> {}).build());
      try {
        done.get(10, TimeUnit.SECONDS);
      } catch (ExecutionException e) {
        that(e.getCause() instanceof ResourceNotFoundException, e.getCause().toString());
        return text((ResourceNotFoundException) e.getCause());
      }
      throw new AssertionError("nothing was thrown");
    });
  }
}
