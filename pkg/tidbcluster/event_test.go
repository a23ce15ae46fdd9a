package tidbcluster

import (
	"strings"
	"testing"

	"github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
)

// The kind is written down here so that this package imports no types of TiDB
// Operator.
func TestGroupVersionKind(t *testing.T) {
	if got, want := GroupVersionKind(), v1alpha1.SchemeGroupVersion.WithKind("TidbCluster"); got != want {
		t.Errorf("kind %v, want TiDB Operator's %v", got, want)
	}
}

// A note that the API server would refuse is cut between two characters.
func TestEventNote(t *testing.T) {
	if got := EventNote("short"); got != "short" {
		t.Errorf("a short note turns into %q", got)
	}
	if got := EventNote(strings.Repeat("x", 1024)); len(got) != 1024 || strings.HasSuffix(got, "...") {
		t.Errorf("a note of 1024 bytes turns into one of %d, which ends in %q", len(got), got[len(got)-8:])
	}
	got := EventNote("x" + strings.Repeat("ä", 2000))
	if len(got) > 1024 || len(got) < 1020 || !strings.HasSuffix(got, "ä...") {
		t.Errorf("a long note turns into one of %d bytes, which ends in %q", len(got), got[len(got)-8:])
	}
}
