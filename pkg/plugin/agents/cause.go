package agents

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tidelay/tidelay/pkg/agent/client"
)

// Cause says in short words what is wrong in the error of a request: "connection refused", "no
// answer in time". There is no address in it, so that the same cause has the same words.
func Cause(err error) string {
	refusal, isRefusal := errors.AsType[*client.Error](err)
	_, isConnection := errors.AsType[*net.OpError](err)
	switch {
	case isConnection && !client.IsTimeout(err): // there is none to an agent
		return "the API server can't be reached: " + client.Cause(err)
	case !isRefusal:
		return client.Cause(err)
	case refusal.Type != "": // the agent's own words
		return refusal.Detail
	}
	var status metav1.Status
	if json.Unmarshal([]byte(refusal.Detail), &status) != nil || status.Message == "" {
		return "the API server answered " + strings.ToLower(http.StatusText(refusal.Status))
	}
	// What the API server says of a pod that it can't connect to: "error trying to reach
	// service: dial tcp 10.0.0.5:2332: connect: connection refused".
	if _, why, is := strings.Cut(status.Message, "error trying to reach service: "); is {
		parts := strings.Split(why, ": ")
		return parts[len(parts)-1]
	}
	return status.Message
}
