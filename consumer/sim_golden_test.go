package consumer_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/streamkit/streamkit/integration/interop/golden"
)

// simGolden are requests that a version of the official library was seen to make.
// An actor makes the same, with other values in them.
type simGolden struct {
	create, createChild dynamodb.PutItemInput
	updates             map[string]dynamodb.UpdateItemInput // by what they do

	// Of 3.x, about the leader's lock, the rows of workers, and the leases of one.
	lock      dynamodb.PutItemInput
	heartbeat dynamodb.UpdateItemInput
	unlock    dynamodb.DeleteItemInput
	report    dynamodb.UpdateItemInput
	owned     dynamodb.QueryInput
}

type simWireValue struct {
	S  *string
	N  *string
	SS []string
	M  map[string]*simWireValue
	L  []*simWireValue
}

func (v *simWireValue) value() types.AttributeValue {
	switch {
	case v == nil:
		return nil
	case v.S != nil:
		return simText(*v.S)
	case v.N != nil:
		return &types.AttributeValueMemberN{Value: *v.N}
	case v.SS != nil:
		return &types.AttributeValueMemberSS{Value: v.SS}
	case v.M != nil:
		return &types.AttributeValueMemberM{Value: simValuesOf(v.M)}
	case v.L != nil:
		list := new(types.AttributeValueMemberL)
		for _, e := range v.L {
			list.Value = append(list.Value, e.value())
		}
		return list
	}
	return nil
}

func simValuesOf(wire map[string]*simWireValue) simItem {
	item := simItem{}
	for name, v := range wire {
		item[name] = v.value()
	}
	return item
}

func simText(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func simNumber(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// simGoldens are those of versions 1 to 3.
var simGoldens = sync.OnceValue(func() (all [4]*simGolden) {
	for version := 1; version <= 3; version++ {
		all[version] = readSimGolden(fmt.Sprintf("testdata/calls/kcl%d-polling-short.ndjson.gz", version))
	}
	return all
})

func readSimGolden(name string) *simGolden {
	f, err := golden.KCL.Open(name)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		panic(err)
	}
	g := &simGolden{updates: map[string]dynamodb.UpdateItemInput{}}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l struct {
			Target string
			Body   json.RawMessage
		}
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			continue
		}
		switch op := strings.TrimPrefix(l.Target, "DynamoDB_20120810."); op {
		case "PutItem", "UpdateItem":
			g.learn(op, l.Body)
			g.learnRest(op, l.Body)
		case "DeleteItem", "Query":
			g.learnRest(op, l.Body)
		}
	}
	if lines.Err() != nil {
		panic(lines.Err())
	}
	return g
}

func (g *simGolden) learn(op string, body []byte) {
	var b struct {
		Item     map[string]*simWireValue
		Expected map[string]struct {
			Value              *simWireValue
			Exists             *bool
			ComparisonOperator types.ComparisonOperator
		}
		AttributeUpdates map[string]struct {
			Value  *simWireValue
			Action types.AttributeAction
		}
		ReturnValues                        types.ReturnValue
		ReturnValuesOnConditionCheckFailure types.ReturnValuesOnConditionCheckFailure
	}
	if err := json.Unmarshal(body, &b); err != nil || b.Expected == nil {
		return // it is about something else than leases
	}
	expected := map[string]types.ExpectedAttributeValue{}
	for name, e := range b.Expected {
		expected[name] = types.ExpectedAttributeValue{Value: e.Value.value(), Exists: e.Exists, ComparisonOperator: e.ComparisonOperator}
	}
	if op == "PutItem" {
		in := dynamodb.PutItemInput{TableName: aws.String("app"), Expected: expected, Item: simItem{}}
		for name, v := range b.Item {
			in.Item[name] = v.value()
		}
		switch {
		case in.Item["checkpoint"] == nil:
		case in.Item["parentShardId"] != nil:
			g.createChild = in
		default:
			g.create = in
		}
		return
	}
	in := dynamodb.UpdateItemInput{
		TableName: aws.String("app"), Expected: expected, AttributeUpdates: map[string]types.AttributeValueUpdate{},
		ReturnValues: b.ReturnValues, ReturnValuesOnConditionCheckFailure: b.ReturnValuesOnConditionCheckFailure,
	}
	for name, u := range b.AttributeUpdates {
		in.AttributeUpdates[name] = types.AttributeValueUpdate{Action: u.Action, Value: u.Value.value()}
	}
	g.updates[simKindOf(&in)] = in
}

// learnRest learns a request with expressions, which are about what is beside leases.
func (g *simGolden) learnRest(op string, body []byte) {
	var b struct {
		Item, Key                             map[string]*simWireValue
		IndexName                             *string
		KeyConditionExpression                *string
		UpdateExpression, ConditionExpression *string
		ExpressionAttributeNames              map[string]string
		ExpressionAttributeValues             map[string]*simWireValue
		ReturnValues                          types.ReturnValue
	}
	if err := json.Unmarshal(body, &b); err != nil || b.ExpressionAttributeValues == nil {
		if b.ConditionExpression == nil {
			return
		}
	}
	values := simValuesOf(b.ExpressionAttributeValues)
	switch {
	case op == "Query":
		g.owned = dynamodb.QueryInput{TableName: aws.String("app"), IndexName: b.IndexName, KeyConditionExpression: b.KeyConditionExpression, ExpressionAttributeValues: values}
	case op == "DeleteItem":
		g.unlock = dynamodb.DeleteItemInput{TableName: aws.String("app"), Key: simValuesOf(b.Key), ConditionExpression: b.ConditionExpression, ExpressionAttributeNames: b.ExpressionAttributeNames, ExpressionAttributeValues: values}
	case op == "PutItem":
		g.lock = dynamodb.PutItemInput{TableName: aws.String("app"), Item: simValuesOf(b.Item), ConditionExpression: b.ConditionExpression, ExpressionAttributeNames: b.ExpressionAttributeNames}
	default:
		in := dynamodb.UpdateItemInput{
			TableName: aws.String("app"), Key: simValuesOf(b.Key), UpdateExpression: b.UpdateExpression, ConditionExpression: b.ConditionExpression,
			ExpressionAttributeNames: b.ExpressionAttributeNames, ExpressionAttributeValues: values, ReturnValues: b.ReturnValues,
		}
		if b.ConditionExpression != nil {
			g.heartbeat = in
		} else {
			g.report = in
		}
	}
}

// locking returns a request to acquire the leader's lock, which is free, or has been
// seen with a version for too long.
//
// Source: amazon-dynamodb-lock-client, AmazonDynamoDBLockClient; the second form was
// not captured.
func (g *simGolden) locking(owner, version, seen string) *dynamodb.PutItemInput {
	in := g.lock
	in.Item = maps.Clone(in.Item)
	in.Item["ownerName"], in.Item["recordVersionNumber"] = simText(owner), simText(version)
	if seen != "" {
		in.ConditionExpression = aws.String("attribute_exists(#pk) AND #rvn = :rvn")
		in.ExpressionAttributeNames = map[string]string{"#pk": "leaseKey", "#rvn": "recordVersionNumber"}
		in.ExpressionAttributeValues = simItem{":rvn": simText(seen)}
	}
	return &in
}

// beating returns a request to prolong the lock.
func (g *simGolden) beating(owner, before, after string) *dynamodb.UpdateItemInput {
	in := g.heartbeat
	in.ExpressionAttributeValues = maps.Clone(in.ExpressionAttributeValues)
	in.ExpressionAttributeValues[":on"], in.ExpressionAttributeValues[":rvn"], in.ExpressionAttributeValues[":newRvn"] = simText(owner), simText(before), simText(after)
	return &in
}

// unlocking returns a request to give it up.
func (g *simGolden) unlocking(owner, version string) *dynamodb.DeleteItemInput {
	in := g.unlock
	in.ExpressionAttributeValues = simItem{":on": simText(owner), ":rvn": simText(version)}
	return &in
}

// reporting returns a request to write a worker's row.
func (g *simGolden) reporting(worker string, now int64) *dynamodb.UpdateItemInput {
	in := g.report
	in.Key = simItem{"leaseKey": simText(worker)}
	in.ExpressionAttributeValues = maps.Clone(in.ExpressionAttributeValues)
	in.ExpressionAttributeValues[":AMZN_MAPPED_lut"], in.ExpressionAttributeValues[":AMZN_MAPPED_slu"] = simNumber(now), simNumber(now)
	return &in
}

// ownedBy returns a request for the keys of a worker's leases.
func (g *simGolden) ownedBy(worker string) *dynamodb.QueryInput {
	in := g.owned
	in.ExpressionAttributeValues = simItem{":leaseOwner": simText(worker)}
	return &in
}

// assigning returns a request to give a lease to a worker, if its owners are still as
// believed.
func (g *simGolden) assigning(key string, row *simLease, to string) *dynamodb.UpdateItemInput {
	in := g.update("assign", key, 0, simItem{"leaseOwner": simText(to)})
	in.Expected["leaseOwner"], in.Expected["checkpointOwner"] = simExpect(row.owner), simExpect(row.checkpointOwner)
	if row.checkpointOwner != "" || row.owner != "" && row.owner != to {
		in.AttributeUpdates["ownerSwitchesSinceCheckpoint"] = types.AttributeValueUpdate{Action: types.AttributeActionAdd, Value: simNumber(1)}
	}
	return in
}

// handing returns a request that begins to hand a lease over. It was not captured.
//
// Source: amazon-kinesis-client 3.5, DynamoDBLeaseRefresher and DynamoDBLeaseSerializer.
func (g *simGolden) handing(key string, row *simLease, to string) *dynamodb.UpdateItemInput {
	in := g.update("assign", key, 0, nil)
	in.Expected["leaseOwner"], in.Expected["checkpointOwner"] = simExpect(row.owner), simExpect("")
	in.AttributeUpdates = map[string]types.AttributeValueUpdate{
		"leaseOwner":      {Action: types.AttributeActionPut, Value: simText(to)},
		"checkpointOwner": {Action: types.AttributeActionPut, Value: simText(row.owner)},
	}
	return in
}

// simExpect expects an attribute to have a value, or not to be there.
func simExpect(value string) types.ExpectedAttributeValue {
	if value == "" {
		return types.ExpectedAttributeValue{Exists: aws.Bool(false)}
	}
	return types.ExpectedAttributeValue{Value: simText(value)}
}

// simKindOf says what an update does.
func simKindOf(in *dynamodb.UpdateItemInput) string {
	_, counter := in.AttributeUpdates["leaseCounter"]
	switch {
	case in.AttributeUpdates["checkpoint"].Value != nil:
		return "checkpoint"
	case in.AttributeUpdates["leaseOwner"].Value != nil && in.Expected["leaseKey"].Exists != nil:
		return "assign"
	case in.AttributeUpdates["leaseOwner"].Value != nil:
		return "take"
	case in.AttributeUpdates["childShardIds"].Value != nil && !counter:
		return "children"
	case counter:
		return "renew"
	}
	return "other"
}

// update returns a request of a kind for a lease whose counter is believed to be n,
// with other values.
func (g *simGolden) update(kind, key string, n int64, values simItem) *dynamodb.UpdateItemInput {
	t, ok := g.updates[kind]
	if !ok {
		panic("no request of the kind " + kind + " was seen")
	}
	in := t
	in.Key = simItem{"leaseKey": simText(key)}
	in.Expected = maps.Clone(t.Expected)
	if _, ok := in.Expected["leaseCounter"]; ok {
		in.Expected["leaseCounter"] = types.ExpectedAttributeValue{Value: simNumber(n)}
	}
	if e, ok := in.Expected["leaseKey"]; ok {
		e.Value = simText(key)
		in.Expected["leaseKey"] = e
	}
	in.AttributeUpdates = map[string]types.AttributeValueUpdate{}
	for name, u := range t.AttributeUpdates {
		v, given := values[name]
		switch {
		case given:
			u.Value = v
		case name == "leaseCounter" && u.Action == types.AttributeActionPut:
			u.Value = simNumber(n + 1)
		case name == "startingHashKey" || name == "endingHashKey":
			continue // as the lease has them
		}
		in.AttributeUpdates[name] = u
	}
	return &in
}

// lease returns a request to create a lease.
func (g *simGolden) lease(key, checkpoint, start, end string, parents []string) *dynamodb.PutItemInput {
	t := g.create
	if len(parents) > 0 {
		t = g.createChild
	}
	in := t
	in.Item = maps.Clone(t.Item)
	in.Item["leaseKey"], in.Item["checkpoint"] = simText(key), simText(checkpoint)
	in.Item["startingHashKey"], in.Item["endingHashKey"] = simText(start), simText(end)
	if len(parents) > 0 {
		in.Item["parentShardId"] = &types.AttributeValueMemberSS{Value: parents}
	}
	return &in
}
