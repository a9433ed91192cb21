// The scenario with the client of openapi-generator for Go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	factwire "example/factwire-sdk"

	"crypto/rand"
)

var background = context.Background()

func main() {
	direct, throughABadNetwork := facts(os.Args[1]), facts(os.Args[2])
	publishWithAConditionAndRetry(direct)
	cursor := page(direct)
	follow(throughABadNetwork, cursor)
}

func facts(url string) *factwire.FactsAPIService {
	configuration := factwire.NewConfiguration()
	configuration.Servers = factwire.ServerConfigurations{{URL: url}}
	if key := os.Getenv("KEY"); key != "" {
		configuration.AddDefaultHeader("Authorization", "Bearer "+key)
	}
	return factwire.NewAPIClient(configuration).FactsAPI
}

func tell(step map[string]any) {
	line, err := json.Marshal(step)
	must(err)
	fmt.Println(string(line))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func newID() string {
	random := make([]byte, 16)
	_, err := rand.Read(random)
	must(err)
	random[6], random[8] = random[6]&0x0f|0x40, random[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", random[:4], random[4:6], random[6:8], random[8:10], random[10:])
}

func order(number int) factwire.NewFactBody {
	fact := factwire.NewNewFactBody("shop", "OrderPlaced", map[string]any{"number": number})
	fact.SetId(newID())
	fact.SetAggregateIds([]string{"order-" + strconv.Itoa(number)})
	fact.SetMeta(map[string]factwire.MetaValue{"tenant": "a", "labels": []string{"x", "y"}})
	return *fact
}

// An order that nobody has placed yet.
func once(number int, after string) factwire.PublishBody {
	placed := factwire.ConditionItemBody{AggregateIds: []string{"order-" + strconv.Itoa(number)}}
	condition := factwire.ConditionBody{FailIfMatch: []factwire.ConditionItemBody{placed}}
	condition.SetAfter(after)
	return factwire.PublishBody{Facts: []factwire.NewFactBody{order(number)}, Condition: &condition}
}

func publishWithAConditionAndRetry(facts *factwire.FactsAPIService) {
	start, _, err := facts.GetPosition(background).Execute()
	must(err)
	body := once(1, start.Cursor)
	tell(map[string]any{"published": publish(facts, body).Position})
	_, response, err := facts.Publish(background).PublishBody(once(1, start.Cursor)).Execute()
	var refused *factwire.GenericOpenAPIError
	if errors.As(err, &refused) {
		problem := refused.Model().(factwire.Problem)
		tell(map[string]any{"refused": problem.Type, "status": response.StatusCode})
	}
	tell(map[string]any{"replayed": publish(facts, body).Position})
}

func publish(facts *factwire.FactsAPIService, body factwire.PublishBody) *factwire.PublishResult {
	result, _, err := facts.Publish(background).PublishBody(body).Execute()
	must(err)
	return result
}

func page(facts *factwire.FactsAPIService) string {
	orders := []factwire.NewFactBody{order(2), order(3), order(4), order(5), order(6)}
	publish(facts, factwire.PublishBody{Facts: orders})
	paged, labels := []int64{}, any(nil)
	for cursor := "start"; ; {
		read, _, err := facts.Read(background).Namespace([]string{"shop"}).After(cursor).Limit(2).Execute()
		must(err)
		for _, fact := range read.Facts {
			paged, labels = append(paged, fact.Position), fact.Meta["labels"]
		}
		cursor = read.Cursor
		if read.CaughtUp {
			tell(map[string]any{"paged": paged, "labels": labels})
			return cursor
		}
	}
}

func follow(facts *factwire.FactsAPIService, cursor string) {
	tell(map[string]any{"following": true})
	followed := []int64{}
	for last := ""; last != "OrdersClosed"; {
		read, _, err := facts.Read(background).Namespace([]string{"shop"}).After(cursor).WaitSeconds(20).Execute()
		var refused *factwire.GenericOpenAPIError
		if errors.As(err, &refused) && refused.Model() != nil {
			panic(err)
		}
		if err != nil {
			continue // there was no whole answer
		}
		for _, fact := range read.Facts {
			followed, last = append(followed, fact.Position), fact.Type
		}
		cursor = read.Cursor
	}
	tell(map[string]any{"followed": followed})
}
