//go:build apiserver

package apiserver

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// least are the verbs of the plugin, and the rights that each needs to tell and do all, as
// docs/security.md has them: "VERB RESOURCE[/SUBRESOURCE][.GROUP]".
var least = map[string]struct {
	args []string
	// asks are the rights without which the verb says what it can't see, needs those without
	// which it fails.
	asks, needs []string
}{
	"set": {
		[]string{"set", "basic", "50ms", "--from=tikv", "--name=NAME"},
		seeing(), []string{"list networkfaults.tidelay.io", "create networkfaults.tidelay.io"},
	},
}
