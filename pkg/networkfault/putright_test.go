package networkfault

import (
	"testing"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
	"github.com/tidelay/tidelay/pkg/networkfault/compile"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/networkfault/keeper"
)

// What was put right is told by the names that people chose, once.
func TestWordsOfPutRight(t *testing.T) {
	of := func(name string, objects ...string) decide.Fault {
		return decide.Fault{Fault: compile.Fault{Fault: fault.Fault{Name: name}, Objects: objects}}
	}
	target := keeper.Target{Faults: []decide.Fault{of("a.1", "a"), of("a.2", "a"), of("b.1", "a", "b", "c")}}
	got := wordsOf(target, []api.Change{
		{Name: "a.1", Action: api.ActionAdd}, {Name: "a.2", Action: api.ActionAdd}, {Name: "b.1", Action: api.ActionChange}, {Name: "x", Action: api.ActionRemove},
	})
	if want := `NetworkFault a was missing, NetworkFaults a, b and c together was another one, fault "x" was there and should not have been`; got != want {
		t.Errorf("words %q, want %q", got, want)
	}
}
