package interop;

import static interop.Report.same;
import static interop.Report.that;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeAction;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;
import software.amazon.awssdk.services.dynamodb.model.AttributeValueUpdate;
import software.amazon.awssdk.services.dynamodb.model.BillingMode;
import software.amazon.awssdk.services.dynamodb.model.ConditionalCheckFailedException;
import software.amazon.awssdk.services.dynamodb.model.ExpectedAttributeValue;
import software.amazon.awssdk.services.dynamodb.model.IndexStatus;
import software.amazon.awssdk.services.dynamodb.model.KeyType;
import software.amazon.awssdk.services.dynamodb.model.ProjectionType;
import software.amazon.awssdk.services.dynamodb.model.ResourceNotFoundException;
import software.amazon.awssdk.services.dynamodb.model.ReturnValue;
import software.amazon.awssdk.services.dynamodb.model.ReturnValuesOnConditionCheckFailure;
import software.amazon.awssdk.services.dynamodb.model.ScalarAttributeType;
import software.amazon.awssdk.services.dynamodb.model.TransactionCanceledException;
import software.amazon.awssdk.services.dynamodb.model.TransactWriteItem;

/** The tables that leases need, through DynamoDB's clients. */
final class Tables {
  private static final String TABLE = "sdk2-leases";

  private Tables() {}

  private static AttributeValue s(String v) {
    return AttributeValue.fromS(v);
  }

  private static AttributeValue n(String v) {
    return AttributeValue.fromN(v);
  }

  private static Map<String, AttributeValue> key(String k) {
    return Map.of("leaseKey", s(k));
  }

  static void run(Report report, Region region) {
    DynamoDbClient ddb = DynamoDbClient.builder().region(region).endpointOverride(Env.dynamodb())
        .httpClient(software.amazon.awssdk.http.apache.ApacheHttpClient.create()).build();
    DynamoDbAsyncClient async = DynamoDbAsyncClient.builder().region(region).endpointOverride(Env.dynamodb()).build();
    report.check("DynamoDB: an unknown table", () -> Sdk2.text(Sdk2.thrown(
        ResourceNotFoundException.class, () -> ddb.describeTable(r -> r.tableName(TABLE)))));
    report.check("DynamoDB: CreateTable and its waiter", () -> {
      ddb.createTable(r -> r.tableName(TABLE).billingMode(BillingMode.PAY_PER_REQUEST)
          .attributeDefinitions(a -> a.attributeName("leaseKey").attributeType(ScalarAttributeType.S))
          .keySchema(k -> k.attributeName("leaseKey").keyType(KeyType.HASH)));
      var t = ddb.waiter().waitUntilTableExists(r -> r.tableName(TABLE)).matched().response().get().table();
      return t.tableArn();
    });
    report.check("DynamoDB: items of every type", () -> {
      Map<String, AttributeValue> item = Map.of("leaseKey", s("types"), "n", n("1.0E-5"),
          "b", AttributeValue.fromB(SdkBytes.fromByteArray(new byte[] {0, (byte) 255})),
          "ss", AttributeValue.fromSs(List.of("x", "y")), "l", AttributeValue.fromL(List.of(n("1"), s(""))),
          "m", AttributeValue.fromM(Map.of("in", AttributeValue.fromBool(true))), "nul", AttributeValue.fromNul(true));
      ddb.putItem(r -> r.tableName(TABLE).item(item));
      var got = async.getItem(r -> r.tableName(TABLE).key(key("types")).consistentRead(true)).get(10, TimeUnit.SECONDS)
          .item();
      same("n", got.get("n"), n("0.00001"));
      same("b", got.get("b"), item.get("b"));
      same("set", List.copyOf(new java.util.TreeSet<>(got.get("ss").ss())), List.of("x", "y"));
      same("l", got.get("l"), item.get("l"));
      same("m", got.get("m"), item.get("m"));
      same("nul", got.get("nul"), item.get("nul"));
      ddb.deleteItem(r -> r.tableName(TABLE).key(key("types")));
      that(!ddb.getItem(r -> r.tableName(TABLE).key(key("types"))).hasItem(), "the item stays");
      return "";
    });
    report.check("DynamoDB: expected values and attribute updates", () -> {
      for (String k : List.of("a", "b", "c")) {
        ddb.putItem(r -> r.tableName(TABLE).item(Map.of("leaseKey", s(k), "leaseCounter", n("0")))
            .expected(Map.of("leaseKey", ExpectedAttributeValue.builder()
                .exists(false).build())));
      }
      var out = ddb.updateItem(r -> r.tableName(TABLE).key(key("a"))
          .expected(Map.of("leaseCounter", ExpectedAttributeValue.builder().value(n("0")).build()))
          .attributeUpdates(Map.of("leaseCounter", put(n("1")), "leaseOwner", put(s("me"))))
          .returnValues(ReturnValue.ALL_NEW));
      same("owner", out.attributes().get("leaseOwner"), s("me"));
      var refused = Sdk2.thrown(ConditionalCheckFailedException.class, () -> ddb.updateItem(
          r -> r.tableName(TABLE).key(key("a"))
              .conditionExpression("leaseCounter = :n").updateExpression("SET leaseCounter = :m")
              .expressionAttributeValues(Map.of(":n", n("0"), ":m", n("2")))
              .returnValuesOnConditionCheckFailure(ReturnValuesOnConditionCheckFailure.ALL_OLD)));
      same("the item in the refusal", refused.item().get("leaseCounter"), n("1"));
      return Sdk2.text(refused);
    });
    report.check("DynamoDB: an index, Query, Scan in segments and pages", () -> {
      ddb.updateTable(r -> r.tableName(TABLE)
          .attributeDefinitions(
              a -> a.attributeName("leaseOwner").attributeType(ScalarAttributeType.S),
              a -> a.attributeName("leaseKey").attributeType(ScalarAttributeType.S))
          .globalSecondaryIndexUpdates(u -> u.create(c -> c.indexName("byOwner")
              .keySchema(k -> k.attributeName("leaseOwner").keyType(KeyType.HASH),
                  k -> k.attributeName("leaseKey").keyType(KeyType.RANGE))
              .projection(p -> p.projectionType(ProjectionType.KEYS_ONLY)))));
      for (int i = 0; ddb.describeTable(r -> r.tableName(TABLE)).table().globalSecondaryIndexes().get(0)
          .indexStatus() != IndexStatus.ACTIVE; i++) {
        that(i < 100, "the index does not become active");
        Thread.sleep(50);
      }
      var q = ddb.query(r -> r.tableName(TABLE).indexName("byOwner").keyConditionExpression("leaseOwner = :o")
          .expressionAttributeValues(Map.of(":o", s("me"))));
      same("items", q.items(), List.of(Map.of("leaseKey", s("a"), "leaseOwner", s("me"))));
      List<String> keys = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        int segment = i;
        ddb.scanPaginator(r -> r.tableName(TABLE).segment(segment).totalSegments(3).limit(1)).items()
            .forEach(x -> keys.add(x.get("leaseKey").s()));
      }
      keys.sort(null);
      same("keys", keys, List.of("a", "b", "c"));
      return "";
    });
    report.check("DynamoDB: TransactWriteItems", () -> {
      ddb.transactWriteItems(r -> r.transactItems(
          TransactWriteItem.builder().conditionCheck(c -> c.tableName(TABLE).key(key("a"))
              .conditionExpression("leaseOwner = :o").expressionAttributeValues(Map.of(":o", s("me")))).build(),
          TransactWriteItem.builder().put(p -> p.tableName(TABLE).item(key("d"))).build(),
          TransactWriteItem.builder().delete(d -> d.tableName(TABLE).key(key("c"))).build()));
      var refused = Sdk2.thrown(TransactionCanceledException.class, () -> ddb.transactWriteItems(r -> r.transactItems(
          TransactWriteItem.builder().put(p -> p.tableName(TABLE).item(key("e"))).build(),
          TransactWriteItem.builder().put(p -> p.tableName(TABLE).item(key("d"))
              .conditionExpression("attribute_not_exists(leaseKey)")).build())));
      same("reasons", refused.cancellationReasons().stream().map(x -> x.code()).toList(),
          List.of("None", "ConditionalCheckFailed"));
      return Sdk2.text(refused);
    });
    report.check("DynamoDB: DeleteTable and its waiter", () -> {
      ddb.deleteTable(r -> r.tableName(TABLE));
      ddb.waiter().waitUntilTableNotExists(r -> r.tableName(TABLE));
      return "";
    });
  }

  private static AttributeValueUpdate put(AttributeValue v) {
    return AttributeValueUpdate.builder().action(AttributeAction.PUT).value(v).build();
  }
}
