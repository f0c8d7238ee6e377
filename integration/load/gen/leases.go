package gen

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Leases renews leases as the KCL does: each caller sets the counter of its own
// item to the next number if it still has the last one.
type Leases struct {
	Callers int
}

// Run implements [Load].
func (l Leases) Run(ctx context.Context, env *Env) (Result, error) {
	srv, err := env.Start(ctx)
	if err != nil {
		return Result{}, err
	}
	_, err = dynamoClient(srv.Endpoint).CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: aws.String("leases"), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("leaseKey"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("leaseKey"), KeyType: types.KeyTypeHash}},
	})
	if _, exists := errors.AsType[*types.ResourceInUseException](err); err != nil && !exists {
		return Result{}, served(err)
	}
	var calls []call
	for i := range l.Callers {
		c, err := dial(ctx, srv.Endpoint)
		if err != nil {
			return Result{}, err
		}
		defer c.close()
		key := fmt.Sprintf(`{"Key":{"leaseKey":{"S":"shardId-%012d"}},"TableName":"leases"`, i)
		first := key + `,"ExpressionAttributeValues":{":o":{"S":"load"},":n":{"N":"0"}},"UpdateExpression":"SET leaseOwner = :o, leaseCounter = :n"}`
		if _, err := c.do(c.request(typeDynamo, dynamoTarget+"UpdateItem", []byte(first))); err != nil {
			return Result{}, err
		}
		n := 0
		calls = append(calls, func(context.Context) (int, error) {
			body := fmt.Sprintf(`%s,"ConditionExpression":"leaseOwner = :o AND leaseCounter = :c","ExpressionAttributeValues":{":o":{"S":"load"},":c":{"N":"%d"},":n":{"N":"%d"}},`+
				`"UpdateExpression":"SET leaseCounter = :n"}`, key, n, n+1)
			n++
			_, err := c.do(c.request(typeDynamo, dynamoTarget+"UpdateItem", []byte(body)))
			return 1, err
		})
	}
	return drive(ctx, env, srv, calls)
}
