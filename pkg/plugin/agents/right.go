package agents

import (
	"errors"

	"github.com/tidelay/tidelay/pkg/agent/client"
)

// Right names the right that a person lacks, of whom a request was Forbidden: some verbs on
// pods/proxy, such as "get" or "get, update and delete", or to read the agents' token, which is
// read first.
func Right(err error, verbs string) string {
	if _, isProxy := errors.AsType[*client.Error](err); isProxy {
		return verbs + " pods/proxy"
	}
	return "get the Secret with the agents' token"
}
