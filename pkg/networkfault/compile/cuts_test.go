package compile

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A fault lets nothing through just if one of its objects lets nothing through, and names those
// that do.
func TestCuts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pods, objects := drawPods(t), drawObjects(t)
		for _, faults := range Compile(objects, pods).Faults {
			for _, f := range faults {
				if f.Impairment.IsCut() != (len(f.Cuts) > 0) {
					t.Fatalf("%+v", f)
				}
				for _, o := range objects {
					if o.Topology == nil && slices.Contains(f.Cuts, o.Name) != (slices.Contains(f.Objects, o.Name) && o.Impairment.IsCut()) {
						t.Fatalf("%+v, and %s has %+v", f, o.Name, o.Impairment)
					}
				}
			}
		}
	})
}
