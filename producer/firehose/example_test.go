package firehose_test

import (
	"context"
	"fmt"

	"github.com/streamkit/streamkit/producer"
	"github.com/streamkit/streamkit/producer/firehose"
)

func Example() {
	var client firehose.API = &fakeDelivery{} // in a program: the SDK's *firehose.Client
	p, err := firehose.New(client, "clicks", firehose.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	for i := range 3 {
		r := producer.UserRecord{Data: fmt.Appendf(nil, `{"click":%d}`, i)}
		err := p.Put(ctx, r, func(res producer.Result) {
			if res.Err != nil {
				fmt.Println("not stored:", res.Err)
			}
		})
		if err != nil {
			fmt.Println(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		fmt.Println(err)
	}
	s := p.Stats()
	fmt.Println(s.UserRecordsPut, "user records in", s.KinesisRecordsPut, "Firehose record")
	// Output: 3 user records in 1 Firehose record
}
