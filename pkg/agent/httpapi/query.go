package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// changeOptions are the terms of a change. Every route that changes something has
// them.
type changeOptions struct {
	ifMatch []string // entity tags (RFC 9110, 13.1.1); empty for any
	dryRun  bool
	// verify measures the RTT to peer before and after the change.
	verify bool
	peer   string
}

// readChangeOptions reads the options of a change. It refuses query parameters
// that are neither among them nor among the route's own.
func readChangeOptions(c *gin.Context, own ...string) (changeOptions, error) {
	if err := queryOnly(c, append(own, "dryRun", "verify", "peer")...); err != nil {
		return changeOptions{}, err
	}
	o := changeOptions{peer: c.Query("peer")}
	var err error
	if o.ifMatch, err = entityTags(c.Request.Header.Values("If-Match")); err != nil {
		return o, err
	}
	if o.dryRun, err = queryBool(c, "dryRun"); err != nil {
		return o, err
	}
	if o.verify, err = queryBool(c, "verify"); err != nil {
		return o, err
	}
	if c.Request.Method == http.MethodHead { // it asks what GET would answer
		o.dryRun = true
	}
	switch {
	case o.verify && o.peer == "":
		return o, queryError("peer", "", "verify=true measures the RTT to a peer: want peer=IP for ping or peer=IP:PORT for TCP")
	case o.verify && o.dryRun:
		return o, queryError("verify", "true", "a dry run changes nothing that could be measured: want one of the two")
	case !o.verify && o.peer != "":
		return o, queryError("peer", o.peer, "want verify=true with it")
	}
	return o, nil
}

// entityTags reads the If-Match headers. It returns nil for "*", which means any
// revision and so the same as no header, because there always is a set. A header
// without a tag is refused: whoever sent it had a condition in mind.
func entityTags(headers []string) ([]string, error) {
	list := strings.TrimSpace(strings.Join(headers, ","))
	if len(headers) == 0 || list == "*" {
		return nil, nil
	}
	tags := strings.Split(list, ",")
	for i := range tags {
		tags[i] = strings.TrimSpace(tags[i])
		if tags[i] == "" || tags[i] == "*" {
			return nil, fault.Invalid{{Field: "header If-Match", Value: api.Shorten(list), Accepted: `want entity tags with "," between them, or "*" alone`}}
		}
	}
	return tags, nil
}

// queryOnly refuses query parameters that are unknown, empty or given twice. To
// ignore one would make a fault that is not quite the one asked for.
func queryOnly(c *gin.Context, known ...string) error {
	query, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return queryError("string", c.Request.URL.RawQuery, "want NAME=VALUE with & between them, percent-encoded")
	}
	accepted := "this route takes no query parameters"
	if len(known) > 0 {
		accepted = "want one of " + strings.Join(known, ", ")
	}
	var bad fault.Invalid
	for name, values := range query {
		switch {
		case !slices.Contains(known, name):
			bad = append(bad, api.FieldError{Field: fmt.Sprintf("query %.40s", name), Value: values[0], Accepted: accepted})
		case len(values) > 1:
			bad = append(bad, api.FieldError{Field: "query " + name, Value: strings.Join(values, ", "), Accepted: "want it once"})
		case values[0] == "":
			bad = append(bad, api.FieldError{Field: "query " + name, Accepted: "want a value, or leave it out"})
		}
	}
	if len(bad) == 0 {
		return nil
	}
	slices.SortFunc(bad, func(a, b api.FieldError) int { return strings.Compare(a.Field, b.Field) })
	return bad
}

func queryBool(c *gin.Context, name string) (bool, error) {
	switch value := c.Query(name); value {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, queryError(name, value, "want true or false")
	}
}

func queryNumber(c *gin.Context, name string) (float64, error) {
	value := c.Query(name)
	if value == "" {
		return 0, nil
	}
	number, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return 0, queryError(name, value, "want a percentage from 0 to 100 with at most four decimals")
	}
	return number, nil
}

func queryError(name, value, accepted string) error {
	return fault.Invalid{{Field: "query " + name, Value: value, Accepted: accepted}}
}
