package table_test

import "testing"

// TestLeaseMutations sends the requests of the Java KCL, which uses Expected
// and AttributeUpdates for leases in versions 2 and 3.
func TestLeaseMutations(t *testing.T) {
	const (
		key     = `"TableName":"app","Key":{"leaseKey":{"S":"shardId-000000000000"}}`
		allOld  = `,"ReturnValuesOnConditionCheckFailure":"ALL_OLD"`
		allNew  = `,"ReturnValues":"ALL_NEW"`
		failed  = failedText
		getItem = `{` + key + `,"ConsistentRead":false}`
	)
	r := newRig()
	r.do(t, "CreateTable", `{"AttributeDefinitions":[{"AttributeName":"leaseKey","AttributeType":"S"}],"TableName":"app",
		"KeySchema":[{"AttributeName":"leaseKey","KeyType":"HASH"}],"BillingMode":"PAY_PER_REQUEST","Tags":[],"DeletionProtectionEnabled":false}`)

	create := `{"TableName":"app","Item":{"leaseKey":{"S":"shardId-000000000000"},"leaseCounter":{"N":"0"},"ownerSwitchesSinceCheckpoint":{"N":"0"},
		"checkpoint":{"S":"TRIM_HORIZON"},"checkpointSubSequenceNumber":{"N":"0"},"parentShardId":{"SS":["shardId-000000000009"]},
		"startingHashKey":{"S":"0"},"endingHashKey":{"S":"99"}},"Expected":{"leaseKey":{"Exists":false}}}`
	r.want(t, "PutItem", create, `{}`)
	r.refuse(t, "PutItem", create, failed)

	// take, by the rules of version 2
	take := `{` + key + `,"Expected":{"leaseCounter":{"Value":{"N":"0"}}},"AttributeUpdates":{"leaseOwner":{"Value":{"S":"w1"},"Action":"PUT"},
		"leaseCounter":{"Value":{"N":"1"},"Action":"PUT"},"checkpointOwner":{"Action":"DELETE"},"ownerSwitchesSinceCheckpoint":{"Value":{"N":"1"},"Action":"ADD"}}}`
	r.want(t, "UpdateItem", take, `{}`)
	r.refuse(t, "UpdateItem", take, failed)

	// renew, version 3
	renew := `{` + key + `,"Expected":{"leaseCounter":{"Value":{"N":"1"}},"checkpointOwner":{"Exists":false}},
		"AttributeUpdates":{"leaseCounter":{"Value":{"N":"2"},"Action":"PUT"},"throughputKBps":{"Value":{"N":"1.0E-5"},"Action":"PUT"}}` + allOld + `}`
	r.want(t, "UpdateItem", renew, `{}`)
	members := r.members(t, "UpdateItem", renew, failed)
	const lease = `{"checkpoint":{"S":"TRIM_HORIZON"},"checkpointSubSequenceNumber":{"N":"0"},"endingHashKey":{"S":"99"},"leaseCounter":{"N":"2"},"leaseKey":{"S":"shardId-000000000000"},"leaseOwner":{"S":"w1"},"ownerSwitchesSinceCheckpoint":{"N":"1"},"parentShardId":{"SS":["shardId-000000000009"]},"startingHashKey":{"S":"0"},"throughputKBps":{"N":"0.00001"}}`
	if want := `,"Item":` + lease; members != want {
		t.Errorf("Members = %s, want %s", members, want)
	}
	r.want(t, "GetItem", getItem, `{"Item":`+lease+`}`)

	// renew, version 2
	r.want(t, "UpdateItem", `{`+key+`,"Expected":{"leaseCounter":{"Value":{"N":"2"}}},"AttributeUpdates":{"leaseCounter":{"Value":{"N":"3"},"Action":"PUT"}}}`, `{}`)

	// start of a graceful handoff: the counter stays
	handoff := `{` + key + `,"Expected":{"leaseOwner":{"Value":{"S":"w1"}},"checkpointOwner":{"Exists":false},"leaseKey":{"Exists":true,"Value":{"S":"shardId-000000000000"}}},
		"AttributeUpdates":{"leaseOwner":{"Value":{"S":"w2"},"Action":"PUT"},"checkpointOwner":{"Value":{"S":"w1"},"Action":"PUT"}}` + allNew + allOld + `}`
	r.want(t, "UpdateItem", handoff, `{"Attributes":{"checkpoint":{"S":"TRIM_HORIZON"},"checkpointOwner":{"S":"w1"},"checkpointSubSequenceNumber":{"N":"0"},"endingHashKey":{"S":"99"},"leaseCounter":{"N":"3"},"leaseKey":{"S":"shardId-000000000000"},"leaseOwner":{"S":"w2"},"ownerSwitchesSinceCheckpoint":{"N":"1"},"parentShardId":{"SS":["shardId-000000000009"]},"startingHashKey":{"S":"0"},"throughputKBps":{"N":"0.00001"}}}`)
	r.refuse(t, "UpdateItem", `{`+key+`,"Expected":{"leaseCounter":{"Value":{"N":"3"}},"checkpointOwner":{"Exists":false}},"AttributeUpdates":{"leaseCounter":{"Value":{"N":"4"},"Action":"PUT"}}`+allOld+`}`, failed)

	// its end, which is assign by the old owner
	assign := `{` + key + `,"Expected":{"leaseOwner":{"Value":{"S":"w2"}},"checkpointOwner":{"Value":{"S":"w1"}},"leaseKey":{"Exists":true,"Value":{"S":"shardId-000000000000"}}},
		"AttributeUpdates":{"leaseOwner":{"Value":{"S":"w2"},"Action":"PUT"},"checkpointOwner":{"Action":"DELETE"},"leaseCounter":{"Value":{"N":"1"},"Action":"ADD"},
		"ownerSwitchesSinceCheckpoint":{"Value":{"N":"1"},"Action":"ADD"}}` + allNew + allOld + `}`
	r.want(t, "UpdateItem", assign, `{"Attributes":{"checkpoint":{"S":"TRIM_HORIZON"},"checkpointSubSequenceNumber":{"N":"0"},"endingHashKey":{"S":"99"},"leaseCounter":{"N":"4"},"leaseKey":{"S":"shardId-000000000000"},"leaseOwner":{"S":"w2"},"ownerSwitchesSinceCheckpoint":{"N":"2"},"parentShardId":{"SS":["shardId-000000000009"]},"startingHashKey":{"S":"0"},"throughputKBps":{"N":"0.00001"}}}`)
	r.refuse(t, "UpdateItem", assign, failed)

	// checkpoint
	r.want(t, "UpdateItem", `{`+key+`,"Expected":{"leaseCounter":{"Value":{"N":"4"}}},"AttributeUpdates":{"leaseCounter":{"Value":{"N":"5"},"Action":"PUT"},
		"checkpoint":{"Value":{"S":"SHARD_END"},"Action":"PUT"},"checkpointSubSequenceNumber":{"Value":{"N":"0"},"Action":"PUT"},
		"ownerSwitchesSinceCheckpoint":{"Value":{"N":"0"},"Action":"PUT"},"pendingCheckpoint":{"Action":"DELETE"},"pendingCheckpointSubSequenceNumber":{"Action":"DELETE"},
		"pendingCheckpointState":{"Action":"DELETE"},"childShardIds":{"Value":{"SS":["b","a"]},"Action":"PUT"}}}`, `{}`)

	// update of hash range and children, without the counter
	r.want(t, "UpdateItem", `{`+key+`,"Expected":{"leaseKey":{"Exists":true,"Value":{"S":"shardId-000000000000"}}},"AttributeUpdates":{"startingHashKey":{"Value":{"S":"1"},"Action":"PUT"}}}`, `{}`)
	r.refuse(t, "UpdateItem", `{"TableName":"app","Key":{"leaseKey":{"S":"none"}},"Expected":{"leaseKey":{"Exists":true,"Value":{"S":"none"}}},"AttributeUpdates":{"startingHashKey":{"Value":{"S":"1"},"Action":"PUT"}}}`, failed)

	// evict, version 2
	r.want(t, "UpdateItem", `{`+key+`,"Expected":{"leaseOwner":{"Value":{"S":"w2"}}},"AttributeUpdates":{"leaseCounter":{"Value":{"N":"6"},"Action":"PUT"},"leaseOwner":{"Action":"DELETE"}}}`, `{}`)
	r.want(t, "GetItem", getItem, `{"Item":{"checkpoint":{"S":"SHARD_END"},"checkpointSubSequenceNumber":{"N":"0"},"childShardIds":{"SS":["a","b"]},"endingHashKey":{"S":"99"},"leaseCounter":{"N":"6"},"leaseKey":{"S":"shardId-000000000000"},"ownerSwitchesSinceCheckpoint":{"N":"0"},"parentShardId":{"SS":["shardId-000000000009"]},"startingHashKey":{"S":"1"},"throughputKBps":{"N":"0.00001"}}}`)

	// assign of an unowned lease
	r.do(t, "UpdateItem", `{`+key+`,"Expected":{"leaseOwner":{"Exists":false},"checkpointOwner":{"Exists":false},"leaseKey":{"Exists":true,"Value":{"S":"shardId-000000000000"}}},
		"AttributeUpdates":{"leaseOwner":{"Value":{"S":"w3"},"Action":"PUT"},"checkpointOwner":{"Action":"DELETE"},"leaseCounter":{"Value":{"N":"1"},"Action":"ADD"}}`+allNew+`}`)

	// list, delete, get of nothing
	if p := r.page(t, "Scan", `{"TableName":"app"}`); p.Count != 1 || p.LastEvaluatedKey != nil {
		t.Errorf("Scan = %+v", p)
	}
	r.want(t, "DeleteItem", `{`+key+`}`, `{}`)
	r.want(t, "GetItem", getItem, `{}`)
	r.want(t, "Scan", `{"TableName":"app","Limit":1}`, `{"Count":0,"Items":[],"ScannedCount":0}`)
}

// TestLeaseOwnerIndex does what KCL 3 does with its index.
func TestLeaseOwnerIndex(t *testing.T) {
	r := newRig()
	r.do(t, "CreateTable", `{"AttributeDefinitions":[{"AttributeName":"leaseKey","AttributeType":"S"}],"TableName":"app",
		"KeySchema":[{"AttributeName":"leaseKey","KeyType":"HASH"}],"ProvisionedThroughput":{"ReadCapacityUnits":10,"WriteCapacityUnits":10}}`)
	put := func(key, owner string) {
		if owner != "" {
			owner = `,"leaseOwner":{"S":"` + owner + `"}`
		}
		r.do(t, "PutItem", `{"TableName":"app","Item":{"leaseKey":{"S":"`+key+`"},"leaseCounter":{"N":"1"}`+owner+`}}`)
	}
	put("a", "w1")
	put("b", "w2")
	put("c", "")
	r.do(t, "UpdateTable", `{"TableName":"app","AttributeDefinitions":[{"AttributeName":"leaseOwner","AttributeType":"S"},{"AttributeName":"leaseKey","AttributeType":"S"}],
		"GlobalSecondaryIndexUpdates":[{"Create":{"IndexName":"LeaseOwnerToLeaseKeyIndex","KeySchema":[{"AttributeName":"leaseOwner","KeyType":"HASH"},{"AttributeName":"leaseKey","KeyType":"RANGE"}],
		"Projection":{"ProjectionType":"KEYS_ONLY"},"ProvisionedThroughput":{"ReadCapacityUnits":10,"WriteCapacityUnits":10}}}]}`)
	put("d", "w1")
	put("e", "w1")

	owned := func(owner, rest string) page {
		return r.page(t, "Query", `{"TableName":"app","IndexName":"LeaseOwnerToLeaseKeyIndex","KeyConditionExpression":"leaseOwner = :leaseOwner",
			"ExpressionAttributeValues":{":leaseOwner":{"S":"`+owner+`"}}`+rest+`}`)
	}
	if got := owned("w1", "").values("leaseKey"); got != "a d e" {
		t.Errorf("w1 owns %q", got)
	}
	first := owned("w1", `,"Limit":2`)
	if got := first.values("leaseKey"); got != "a d" || string(first.LastEvaluatedKey) != `{"leaseKey":{"S":"d"},"leaseOwner":{"S":"w1"}}` {
		t.Errorf("first page %q, then %s", got, first.LastEvaluatedKey)
	}
	if got := owned("w1", `,"ExclusiveStartKey":`+string(first.LastEvaluatedKey)).values("leaseKey"); got != "e" {
		t.Errorf("second page %q", got)
	}
	if got := owned("w1", `,"ScanIndexForward":false`).values("leaseKey"); got != "e d a" {
		t.Errorf("backward %q", got)
	}

	// A change of owner moves the lease, a renewal does not, and no owner
	// takes it out.
	r.do(t, "UpdateItem", `{"TableName":"app","Key":{"leaseKey":{"S":"d"}},"UpdateExpression":"SET leaseOwner = :w","ExpressionAttributeValues":{":w":{"S":"w2"}}}`)
	r.do(t, "UpdateItem", `{"TableName":"app","Key":{"leaseKey":{"S":"a"}},"UpdateExpression":"ADD leaseCounter :w","ExpressionAttributeValues":{":w":{"N":"1"}}}`)
	r.do(t, "UpdateItem", `{"TableName":"app","Key":{"leaseKey":{"S":"e"}},"UpdateExpression":"REMOVE leaseOwner"}`)
	if got := owned("w1", "").values("leaseKey") + "|" + owned("w2", "").values("leaseKey"); got != "a|b d" {
		t.Errorf("owned %q", got)
	}
	r.do(t, "DeleteItem", `{"TableName":"app","Key":{"leaseKey":{"S":"b"}}}`)
	if got := owned("w2", ""); got.values("leaseKey") != "d" || got.Items[0]["leaseCounter"] != nil {
		t.Errorf("owned %+v", got)
	}

	const where = `"TableName":"app","Key":{"leaseKey":{"S":"a"}}`
	r.refuse(t, "UpdateItem", `{`+where+`,"AttributeUpdates":{"leaseOwner":{"Value":{"N":"1"}}}}`,
		parameters+"Type mismatch for Index Key leaseOwner Expected: S Actual: N IndexName: LeaseOwnerToLeaseKeyIndex")
	r.refuse(t, "UpdateItem", `{`+where+`,"AttributeUpdates":{"leaseOwner":{"Value":{"S":""}}}}`,
		validation+"One or more parameter values are not valid. A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an empty string value. IndexName: LeaseOwnerToLeaseKeyIndex, IndexKey: leaseOwner")
	r.refuse(t, "Query", `{"TableName":"app","IndexName":"none","KeyConditionExpression":"a = b","ConsistentRead":true}`,
		validation+"Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition")
	r.refuse(t, "Query", `{"TableName":"app","IndexName":"none","KeyConditions":{"a":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"x"}]}}}`,
		validation+"The table does not have the specified index: none")
	r.refuse(t, "Query", `{"TableName":"app","IndexName":"LeaseOwnerToLeaseKeyIndex","ConsistentRead":true,"KeyConditions":{"a":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"x"}]}}}`,
		validation+"Consistent reads are not supported on global secondary indexes")
	r.refuse(t, "Scan", `{"TableName":"app","IndexName":"LeaseOwnerToLeaseKeyIndex","Select":"ALL_ATTRIBUTES"}`,
		parameters+"Select type ALL_ATTRIBUTES is not supported for global secondary index LeaseOwnerToLeaseKeyIndex because its projection type is not ALL")
	if got := r.page(t, "Scan", `{"TableName":"app","IndexName":"LeaseOwnerToLeaseKeyIndex"}`).values("leaseKey"); got != "a d" {
		t.Errorf("scan of the index %q", got)
	}

	again := r.reread(t)
	if got := again.page(t, "Scan", `{"TableName":"app","IndexName":"LeaseOwnerToLeaseKeyIndex"}`).values("leaseKey"); got != "a d" {
		t.Errorf("scan of the index after a snapshot %q", got)
	}
	if got, want := again.do(t, "DescribeTable", `{"TableName":"app"}`), r.do(t, "DescribeTable", `{"TableName":"app"}`); got != want {
		t.Errorf("description after a snapshot %s, want %s", got, want)
	}
	r.do(t, "UpdateTable", `{"TableName":"app","GlobalSecondaryIndexUpdates":[{"Delete":{"IndexName":"LeaseOwnerToLeaseKeyIndex"}}]}`)
	r.refuse(t, "Scan", `{"TableName":"app","IndexName":"LeaseOwnerToLeaseKeyIndex"}`, validation+"The table does not have the specified index: LeaseOwnerToLeaseKeyIndex")
}

// TestCoordinator sends the requests of KCL 3 for leader and worker metrics,
// which use expressions.
func TestCoordinator(t *testing.T) {
	r := newRig()
	r.hashTable(t, "S")
	acquire := func(cond, rvn, values string) string {
		if values != "" {
			values = `,"ExpressionAttributeValues":{` + values + `}`
		}
		names := `"#pk":"k"`
		if values != "" {
			names += `,"#rvn":"recordVersionNumber"`
		}
		return `{"TableName":"tab","Item":{"k":{"S":"Leader"},"ownerName":{"S":"w1"},"leaseDuration":{"S":"120000"},"recordVersionNumber":{"S":"` + rvn + `"}},
			"ConditionExpression":"` + cond + `","ExpressionAttributeNames":{` + names + `}` + values + `}`
	}
	r.want(t, "PutItem", acquire("attribute_not_exists(#pk)", "r1", ""), `{}`)
	r.refuse(t, "PutItem", acquire("attribute_not_exists(#pk)", "r1", ""), failedText)
	const expired = "attribute_exists(#pk) AND #rvn = :rvn"
	r.refuse(t, "PutItem", acquire(expired, "r2", `":rvn":{"S":"r0"}`), failedText)
	r.want(t, "PutItem", acquire(expired, "r2", `":rvn":{"S":"r1"}`), `{}`)

	r.want(t, "UpdateItem", `{"TableName":"tab","Key":{"k":{"S":"Leader"}},"UpdateExpression":"SET #ld = :ld, #rvn = :newRvn",
		"ConditionExpression":"attribute_exists(#pk) AND #rvn = :rvn AND #on = :on",
		"ExpressionAttributeNames":{"#pk":"k","#ld":"leaseDuration","#rvn":"recordVersionNumber","#on":"ownerName"},
		"ExpressionAttributeValues":{":ld":{"S":"1"},":newRvn":{"S":"r3"},":rvn":{"S":"r2"},":on":{"S":"w1"}}}`, `{}`)

	r.want(t, "UpdateItem", `{"TableName":"tab","Key":{"k":{"S":"w1"}},"UpdateExpression":"SET #AMZN_MAPPED_lut = :AMZN_MAPPED_lut, #AMZN_MAPPED_sts = :AMZN_MAPPED_sts, #AMZN_MAPPED_et = :et",
		"ExpressionAttributeNames":{"#AMZN_MAPPED_lut":"lut","#AMZN_MAPPED_sts":"sts","#AMZN_MAPPED_et":"entityType"},
		"ExpressionAttributeValues":{":et":{"S":"WORKER_METRIC_STATS"},":AMZN_MAPPED_lut":{"N":"1700000000"},":AMZN_MAPPED_sts":{"M":{"C":{"L":[{"N":"-1"},{"N":"17.5"}]}}}}}`, `{}`)
	p := r.page(t, "Scan", `{"TableName":"tab","FilterExpression":"#et = :etVal","ExpressionAttributeNames":{"#et":"entityType"},"ExpressionAttributeValues":{":etVal":{"S":"WORKER_METRIC_STATS"}}}`)
	if p.Count != 1 || p.ScannedCount != 2 || p.values("k") != "w1" {
		t.Errorf("Scan = %+v", p)
	}
	r.refuse(t, "DeleteItem", `{"TableName":"tab","Key":{"k":{"S":"w1"}},"ConditionExpression":"#key = :value AND attribute_exists(k)",
		"ExpressionAttributeNames":{"#key":"lut"},"ExpressionAttributeValues":{":value":{"N":"1"}}}`, failedText)
}
