package dynamolease

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/streamkit/streamkit/consumer"
)

// The attributes of the leader's lock.
//
// Source: amazon-dynamodb-lock-client 1.4, AmazonDynamoDBLockClient.
const (
	attrLockOwner    = "ownerName"
	attrLockVersion  = "recordVersionNumber"
	attrLockDuration = "leaseDuration" // milliseconds, as text
	attrLockReleased = "isReleased"
	attrLockData     = "data"

	lockReleased = "1"
)

// GetLeader implements [consumer.CoordinationStore].
func (s *Store) GetLeader(ctx context.Context) (consumer.LeaderLock, bool, error) {
	table, keyAttr := s.leaderTable()
	out, err := s.api.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: item{keyAttr: text(keyLeader)}, ConsistentRead: aws.Bool(true)})
	if err != nil {
		return consumer.LeaderLock{}, false, fmt.Errorf("dynamolease: get the leader's lock of table %q: %w", table, err)
	}
	if len(out.Item) == 0 {
		return consumer.LeaderLock{}, false, nil
	}
	d := decoder{it: out.Item}
	l := consumer.LeaderLock{
		Owner: d.text(attrLockOwner), Version: d.text(attrLockVersion),
		Released: d.text(attrLockReleased) == lockReleased,
	}
	ms, err := strconv.ParseInt(d.text(attrLockDuration), 10, 64)
	if err != nil && d.err == nil {
		d.fail(attrLockDuration, out.Item[attrLockDuration])
	}
	l.Duration = time.Duration(ms) * time.Millisecond
	if b, ok := out.Item[attrLockData].(*types.AttributeValueMemberB); ok {
		l.Data = b.Value
	}
	if d.err != nil {
		return l, true, fmt.Errorf("dynamolease: the leader's lock in table %q: %w; correct or delete the item %q", table, d.err, keyLeader)
	}
	return l, true, nil
}

// AcquireLeader implements [consumer.CoordinationStore].
func (s *Store) AcquireLeader(ctx context.Context, seen *consumer.LeaderLock, l consumer.LeaderLock) (bool, error) {
	table, keyAttr := s.leaderTable()
	in := &dynamodb.PutItemInput{
		TableName: &table,
		Item: item{
			keyAttr: text(keyLeader), attrEntityType: text(entityLeader),
			attrLockOwner: text(l.Owner), attrLockVersion: text(l.Version),
			attrLockDuration: text(strconv.FormatInt(l.Duration.Milliseconds(), 10)),
		},
		ConditionExpression:      aws.String("attribute_not_exists(#pk)"),
		ExpressionAttributeNames: map[string]string{"#pk": keyAttr},
	}
	if len(l.Data) > 0 {
		in.Item[attrLockData] = &types.AttributeValueMemberB{Value: l.Data}
	}
	if seen != nil {
		condition := "attribute_exists(#pk) AND #rvn = :rvn"
		in.ExpressionAttributeNames["#rvn"] = attrLockVersion
		in.ExpressionAttributeValues = item{":rvn": text(seen.Version)}
		if seen.Released {
			condition += " AND #ir = :ir"
			in.ExpressionAttributeNames["#ir"] = attrLockReleased
			in.ExpressionAttributeValues[":ir"] = text(lockReleased)
		}
		in.ConditionExpression = &condition
	}
	_, err := s.api.PutItem(ctx, in, noRetries)
	return s.done(err, "acquire", table)
}

// stillHeld is the condition of those who hold the lock.
const stillHeld = "attribute_exists(#pk) AND #rvn = :rvn AND #on = :on"

// RenewLeader implements [consumer.CoordinationStore].
func (s *Store) RenewLeader(ctx context.Context, before, after consumer.LeaderLock) (bool, error) {
	table, keyAttr := s.leaderTable()
	in := &dynamodb.UpdateItemInput{
		TableName: &table, Key: item{keyAttr: text(keyLeader)},
		UpdateExpression:    aws.String("SET #ld = :ld, #rvn = :newRvn"),
		ConditionExpression: aws.String(stillHeld),
		ExpressionAttributeNames: map[string]string{
			"#pk": keyAttr, "#ld": attrLockDuration, "#rvn": attrLockVersion, "#on": attrLockOwner,
		},
		ExpressionAttributeValues: item{
			":ld": text(strconv.FormatInt(after.Duration.Milliseconds(), 10)), ":newRvn": text(after.Version),
			":rvn": text(before.Version), ":on": text(before.Owner),
		},
	}
	if after.Data != nil {
		*in.UpdateExpression += ", #data = :data"
		in.ExpressionAttributeNames["#data"] = attrLockData
		in.ExpressionAttributeValues[":data"] = &types.AttributeValueMemberB{Value: after.Data}
	}
	_, err := s.api.UpdateItem(ctx, in, noRetries)
	return s.done(err, "renew", table)
}

// ReleaseLeader implements [consumer.CoordinationStore].
func (s *Store) ReleaseLeader(ctx context.Context, l consumer.LeaderLock) (bool, error) {
	table, keyAttr := s.leaderTable()
	_, err := s.api.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: &table, Key: item{keyAttr: text(keyLeader)},
		ConditionExpression:       aws.String(stillHeld),
		ExpressionAttributeNames:  map[string]string{"#pk": keyAttr, "#rvn": attrLockVersion, "#on": attrLockOwner},
		ExpressionAttributeValues: item{":rvn": text(l.Version), ":on": text(l.Owner)},
	}, noRetries)
	return s.done(err, "release", table)
}

// done reports whether a conditional write of the lock was done.
func (s *Store) done(err error, what, table string) (bool, error) {
	if _, refused := errors.AsType[*types.ConditionalCheckFailedException](err); refused {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("dynamolease: %s the leader's lock in table %q: %w", what, table, err)
	}
	return true, nil
}
