package interop;

import static interop.Report.same;
import static interop.Report.that;

import com.amazonaws.AmazonServiceException;
import com.amazonaws.client.builder.AwsClientBuilder.EndpointConfiguration;
import com.amazonaws.services.dynamodbv2.AmazonDynamoDB;
import com.amazonaws.services.dynamodbv2.AmazonDynamoDBClientBuilder;
import com.amazonaws.services.dynamodbv2.model.AttributeAction;
import com.amazonaws.services.dynamodbv2.model.AttributeDefinition;
import com.amazonaws.services.dynamodbv2.model.AttributeValue;
import com.amazonaws.services.dynamodbv2.model.AttributeValueUpdate;
import com.amazonaws.services.dynamodbv2.model.ConditionalCheckFailedException;
import com.amazonaws.services.dynamodbv2.model.CreateTableRequest;
import com.amazonaws.services.dynamodbv2.model.ExpectedAttributeValue;
import com.amazonaws.services.dynamodbv2.model.KeySchemaElement;
import com.amazonaws.services.dynamodbv2.model.KeyType;
import com.amazonaws.services.dynamodbv2.model.ProvisionedThroughput;
import com.amazonaws.services.dynamodbv2.model.PutItemRequest;
import com.amazonaws.services.dynamodbv2.model.ScalarAttributeType;
import com.amazonaws.services.dynamodbv2.model.ScanRequest;
import com.amazonaws.services.dynamodbv2.model.UpdateItemRequest;
import com.amazonaws.services.kinesis.AmazonKinesis;
import com.amazonaws.services.kinesis.AmazonKinesisAsync;
import com.amazonaws.services.kinesis.AmazonKinesisAsyncClientBuilder;
import com.amazonaws.services.kinesis.AmazonKinesisClientBuilder;
import com.amazonaws.services.kinesis.model.*;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/** Every operation that matters, through the first SDK. */
public final class Sdk1 {
  private final Report report;
  private final AmazonKinesis kinesis;
  private final String stream = "sdk1";
  private String arn;

  private Sdk1(Report report, AmazonKinesis kinesis) {
    this.report = report;
    this.kinesis = kinesis;
  }

  public static void main(String[] args) throws Exception {
    Trust.install();
    Report report = new Report("com.amazonaws:aws-java-sdk-kinesis", AmazonKinesis.class);
    var endpoint = new EndpointConfiguration(Env.kinesis().toString(), Env.region());
    new Sdk1(report, AmazonKinesisClientBuilder.standard().withEndpointConfiguration(endpoint).build()).all();
    async(report, AmazonKinesisAsyncClientBuilder.standard().withEndpointConfiguration(endpoint).build());
    tables(report, AmazonDynamoDBClientBuilder.standard()
        .withEndpointConfiguration(new EndpointConfiguration(Env.dynamodb().toString(), Env.region())).build());
    report.exit();
  }

  private static String thrown(Class<? extends AmazonServiceException> want, Report.Check c) {
    try {
      c.run();
    } catch (Throwable t) {
      if (want.isInstance(t)) {
        AmazonServiceException e = (AmazonServiceException) t;
        return e.getErrorCode() + ": " + e.getErrorMessage();
      }
      throw new AssertionError("thrown is " + t + ", want " + want.getName(), t);
    }
    throw new AssertionError("nothing was thrown, want " + want.getName());
  }

  private StreamDescriptionSummary summary() {
    return kinesis.describeStreamSummary(new DescribeStreamSummaryRequest().withStreamName(stream))
        .getStreamDescriptionSummary();
  }

  private void active() throws InterruptedException {
    for (int i = 0; !summary().getStreamStatus().equals("ACTIVE"); i++) {
      that(i < 100, "the stream does not become active");
      Thread.sleep(50);
    }
  }

  private void all() {
    report.check("CreateStream, DescribeStream, DescribeStreamSummary", () -> {
      kinesis.createStream(new CreateStreamRequest().withStreamName(stream).withShardCount(2));
      active();
      StreamDescription d = kinesis.describeStream(stream).getStreamDescription();
      arn = d.getStreamARN();
      same("shards", d.getShards().size(), 2);
      same("more", d.getHasMoreShards(), false);
      long age = System.currentTimeMillis() - d.getStreamCreationTimestamp().getTime();
      that(Math.abs(age) < 10_000, "created at " + d.getStreamCreationTimestamp());
      return arn;
    });
    report.check("CreateStream of a stream that is there",
        () -> thrown(ResourceInUseException.class, () -> kinesis.createStream(stream, 1)));
    report.check("an unknown stream",
        () -> thrown(ResourceNotFoundException.class, () -> kinesis.describeStream("nobody")));
    report.check("ListStreams", () -> {
      that(kinesis.listStreams().getStreamNames().contains(stream), "the stream is missing");
      return "";
    });
    byte[] all = new byte[256];
    for (int i = 0; i < all.length; i++) {
      all[i] = (byte) i;
    }
    Date before = new Date();
    report.check("PutRecord of every byte, and of none", () -> {
      PutRecordResult a = kinesis.putRecord(new PutRecordRequest().withStreamName(stream).withPartitionKey("k\u00e9y")
          .withExplicitHashKey("0").withData(ByteBuffer.wrap(all)));
      PutRecordResult b = kinesis.putRecord(new PutRecordRequest().withStreamName(stream).withPartitionKey("none")
          .withExplicitHashKey("0").withSequenceNumberForOrdering(a.getSequenceNumber())
          .withData(ByteBuffer.wrap(new byte[0])));
      that(b.getSequenceNumber().compareTo(a.getSequenceNumber()) > 0, "sequence numbers");
      return b.getSequenceNumber();
    });
    report.check("PutRecords", () -> {
      List<PutRecordsRequestEntry> entries = new ArrayList<>();
      for (int i = 0; i < 500; i++) {
        entries.add(new PutRecordsRequestEntry().withPartitionKey("key-" + i)
            .withData(ByteBuffer.wrap(("record " + i).getBytes())));
      }
      PutRecordsResult out = kinesis.putRecords(new PutRecordsRequest().withStreamName(stream).withRecords(entries));
      same("failed", out.getFailedRecordCount(), 0);
      same("answers", out.getRecords().size(), 500);
      return "";
    });
    report.check("GetShardIterator of each type, GetRecords", () -> {
      List<com.amazonaws.services.kinesis.model.Record> got =
          read(new GetShardIteratorRequest().withShardIteratorType(ShardIteratorType.TRIM_HORIZON));
      var first = got.get(0);
      same("key", first.getPartitionKey(), "k\u00e9y");
      byte[] data = new byte[first.getData().remaining()];
      first.getData().duplicate().get(data);
      that(Arrays.equals(data, all), "the bytes are not those that were put");
      same("no bytes", got.get(1).getData().remaining(), 0);
      Date at = first.getApproximateArrivalTimestamp();
      that(at.getTime() >= before.getTime() - 5 && at.getTime() <= System.currentTimeMillis() + 1000, "arrived at " + at);
      same("at", read(new GetShardIteratorRequest().withShardIteratorType(ShardIteratorType.AT_SEQUENCE_NUMBER)
          .withStartingSequenceNumber(got.get(1).getSequenceNumber())).get(0), got.get(1));
      same("after", read(new GetShardIteratorRequest().withShardIteratorType(ShardIteratorType.AFTER_SEQUENCE_NUMBER)
          .withStartingSequenceNumber(first.getSequenceNumber())).get(0), got.get(1));
      same("latest", read(new GetShardIteratorRequest().withShardIteratorType(ShardIteratorType.LATEST)).size(), 0);
      return got.size() + " records";
    });
    report.check("GetShardIterator at a time", () -> {
      var in = new GetShardIteratorRequest().withShardIteratorType(ShardIteratorType.AT_TIMESTAMP)
          .withTimestamp(new Date(System.currentTimeMillis() - 60_000));
      if (Env.get("AWS_CBOR_DISABLE", "").isEmpty()) {
        return read(in).size() + " records";
      }
      // It sends milliseconds where seconds are meant; AWS refuses that as well.
      return thrown(InvalidArgumentException.class, () -> read(in));
    });
    report.check("ListShards with tokens and filters", () -> {
      ListShardsResult one = kinesis.listShards(new ListShardsRequest().withStreamName(stream).withMaxResults(1));
      ListShardsResult two = kinesis.listShards(new ListShardsRequest().withNextToken(one.getNextToken()));
      same("shards", one.getShards().size() + two.getShards().size(), 2);
      same("latest", kinesis.listShards(new ListShardsRequest().withStreamName(stream)
          .withShardFilter(new ShardFilter().withType(ShardFilterType.AT_LATEST))).getShards().size(), 2);
      return "";
    });
    report.check("SplitShard, MergeShards, UpdateShardCount", () -> {
      kinesis.splitShard(stream, "shardId-000000000000", "85070591730234615865843651857942052864");
      active();
      kinesis.mergeShards(stream, "shardId-000000000002", "shardId-000000000003");
      active();
      UpdateShardCountResult u = kinesis.updateShardCount(new UpdateShardCountRequest().withStreamName(stream)
          .withTargetShardCount(4).withScalingType(ScalingType.UNIFORM_SCALING));
      same("from", u.getCurrentShardCount(), 2);
      active();
      List<Shard> list = kinesis.listShards(new ListShardsRequest().withStreamName(stream)).getShards();
      same("parent", list.get(2).getParentShardId(), "shardId-000000000000");
      same("other parent", list.get(4).getAdjacentParentShardId(), "shardId-000000000003");
      return list.size() + " shards";
    });
    report.check("the end of a shard names its children", () -> {
      String it = kinesis.getShardIterator(stream, "shardId-000000000000", "LATEST").getShardIterator();
      GetRecordsResult out = kinesis.getRecords(new GetRecordsRequest().withShardIterator(it));
      same("next", out.getNextShardIterator(), null);
      same("children", out.getChildShards().size(), 2);
      return "";
    });
    report.check("retention, tags, monitoring, encryption", () -> {
      kinesis.increaseStreamRetentionPeriod(
          new IncreaseStreamRetentionPeriodRequest().withStreamName(stream).withRetentionPeriodHours(48));
      active();
      kinesis.decreaseStreamRetentionPeriod(
          new DecreaseStreamRetentionPeriodRequest().withStreamName(stream).withRetentionPeriodHours(24));
      active();
      kinesis.addTagsToStream(new AddTagsToStreamRequest().withStreamName(stream).withTags(Map.of("a", "1")));
      same("tags", kinesis.listTagsForStream(new ListTagsForStreamRequest().withStreamName(stream)).getTags(),
          List.of(new Tag().withKey("a").withValue("1")));
      kinesis.removeTagsFromStream(new RemoveTagsFromStreamRequest().withStreamName(stream).withTagKeys("a"));
      kinesis.enableEnhancedMonitoring(
          new EnableEnhancedMonitoringRequest().withStreamName(stream).withShardLevelMetrics("ALL"));
      active();
      kinesis.disableEnhancedMonitoring(
          new DisableEnhancedMonitoringRequest().withStreamName(stream).withShardLevelMetrics("ALL"));
      active();
      kinesis.startStreamEncryption(new StartStreamEncryptionRequest().withStreamName(stream)
          .withEncryptionType(EncryptionType.KMS).withKeyId("alias/aws/kinesis"));
      active();
      same("encryption", summary().getEncryptionType(), "KMS");
      kinesis.stopStreamEncryption(new StopStreamEncryptionRequest().withStreamName(stream)
          .withEncryptionType(EncryptionType.KMS).withKeyId("alias/aws/kinesis"));
      active();
      return "";
    });
    report.check("consumers, limits, mode", () -> {
      Consumer c = kinesis.registerStreamConsumer(
          new RegisterStreamConsumerRequest().withStreamARN(arn).withConsumerName("reader")).getConsumer();
      var d = kinesis.describeStreamConsumer(new DescribeStreamConsumerRequest().withConsumerARN(c.getConsumerARN()))
          .getConsumerDescription();
      same("stream", d.getStreamARN(), arn);
      same("consumers", kinesis.listStreamConsumers(new ListStreamConsumersRequest().withStreamARN(arn))
          .getConsumers().size(), 1);
      kinesis.deregisterStreamConsumer(new DeregisterStreamConsumerRequest().withConsumerARN(c.getConsumerARN()));
      kinesis.describeLimits(new DescribeLimitsRequest());
      kinesis.updateStreamMode(new UpdateStreamModeRequest().withStreamARN(arn)
          .withStreamModeDetails(new StreamModeDetails().withStreamMode(StreamMode.ON_DEMAND)));
      active();
      same("mode", summary().getStreamModeDetails().getStreamMode(), "ON_DEMAND");
      return "";
    });
    report.check("DeleteStream", () -> {
      kinesis.deleteStream(new DeleteStreamRequest().withStreamName(stream).withEnforceConsumerDeletion(true));
      for (int i = 0; i < 100; i++) {
        try {
          summary();
        } catch (ResourceNotFoundException e) {
          return "";
        }
        Thread.sleep(50);
      }
      throw new AssertionError("the stream stays");
    });
  }

  private List<com.amazonaws.services.kinesis.model.Record> read(GetShardIteratorRequest in) {
    String it = kinesis.getShardIterator(in.withStreamName(stream).withShardId("shardId-000000000000"))
        .getShardIterator();
    List<com.amazonaws.services.kinesis.model.Record> all = new ArrayList<>();
    while (it != null) {
      GetRecordsResult out = kinesis.getRecords(new GetRecordsRequest().withShardIterator(it).withLimit(10_000));
      all.addAll(out.getRecords());
      if (out.getRecords().isEmpty() && out.getMillisBehindLatest() == 0) {
        break;
      }
      it = out.getNextShardIterator();
    }
    return all;
  }

  private static void async(Report report, AmazonKinesisAsync kinesis) {
    report.check("asynchronous: create, put, list, delete", () -> {
      kinesis.createStreamAsync("async", 1).get(10, TimeUnit.SECONDS);
      List<Future<PutRecordResult>> puts = new ArrayList<>();
      for (int i = 0; i < 50; i++) {
        puts.add(kinesis.putRecordAsync("async", ByteBuffer.wrap(new byte[] {(byte) i}), "key"));
      }
      for (Future<PutRecordResult> f : puts) {
        same("shard", f.get(10, TimeUnit.SECONDS).getShardId(), "shardId-000000000000");
      }
      same("shards", kinesis.listShardsAsync(new ListShardsRequest().withStreamName("async"))
          .get(10, TimeUnit.SECONDS).getShards().size(), 1);
      kinesis.deleteStreamAsync("async").get(10, TimeUnit.SECONDS);
      return "";
    });
  }

  private static void tables(Report report, AmazonDynamoDB ddb) {
    report.check("DynamoDB: table, expected values, attribute updates, Scan", () -> {
      ddb.createTable(new CreateTableRequest().withTableName("sdk1-leases")
          .withAttributeDefinitions(new AttributeDefinition("leaseKey", ScalarAttributeType.S))
          .withKeySchema(new KeySchemaElement("leaseKey", KeyType.HASH))
          .withProvisionedThroughput(new ProvisionedThroughput(10L, 10L)));
      for (int i = 0; !ddb.describeTable("sdk1-leases").getTable().getTableStatus().equals("ACTIVE"); i++) {
        that(i < 100, "the table does not become active");
        Thread.sleep(50);
      }
      PutItemRequest put = new PutItemRequest().withTableName("sdk1-leases")
          .withItem(Map.of("leaseKey", new AttributeValue("a"), "leaseCounter", new AttributeValue().withN("0")))
          .withExpected(Map.of("leaseKey", new ExpectedAttributeValue(false)));
      ddb.putItem(put);
      String refused = thrown(ConditionalCheckFailedException.class, () -> ddb.putItem(put));
      ddb.updateItem(new UpdateItemRequest().withTableName("sdk1-leases")
          .withKey(Map.of("leaseKey", new AttributeValue("a")))
          .withExpected(Map.of("leaseCounter", new ExpectedAttributeValue(new AttributeValue().withN("0"))))
          .withAttributeUpdates(Map.of("leaseCounter",
              new AttributeValueUpdate(new AttributeValue().withN("1"), AttributeAction.PUT))));
      same("counter", ddb.getItem("sdk1-leases", Map.of("leaseKey", new AttributeValue("a"))).getItem()
          .get("leaseCounter").getN(), "1");
      same("items", ddb.scan(new ScanRequest("sdk1-leases").withLimit(1)).getCount(), 1);
      ddb.deleteTable("sdk1-leases");
      return refused;
    });
  }
}
