package object

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/selector"
)

// Side reads the selectors of one side. They are written as they are usually written, each
// once. The error is a *selector.Error.
func Side(text string) ([]v1alpha1.Selector, error) {
	some, err := selector.Parse(text)
	if err != nil {
		return nil, err
	}
	var all []v1alpha1.Selector
	for _, s := range some {
		if one := v1alpha1.Selector(s.String()); !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	return all, nil
}

// usual returns selectors as Side writes them, in order; those that can't be read as they are.
func usual(side []v1alpha1.Selector) []v1alpha1.Selector {
	var all []v1alpha1.Selector
	for _, text := range side {
		if some, err := Side(string(text)); err == nil {
			all = append(all, some...)
		} else {
			all = append(all, text)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// IsAbout reports whether two NetworkFaults are between the same pods, and both or neither a
// partition. What can't be changed in place is the same then.
func IsAbout(a, b *v1alpha1.NetworkFaultSpec) bool {
	others := []v1alpha1.Selector{"others"}
	to := func(s *v1alpha1.NetworkFaultSpec) []v1alpha1.Selector {
		if len(s.To) == 0 {
			return others
		}
		return usual(s.To)
	}
	return a.Cluster == b.Cluster && a.Partition == b.Partition && a.Seed == b.Seed &&
		slices.Equal(usual(a.From), usual(b.From)) && slices.Equal(to(a), to(b))
}

// Find returns which of the NetworkFaults to change for a wanted one, and the wanted one's
// name. name is the name that was asked for; "" for none. Of several that are about the same
// the one with the name that is made counts, or else the first by name. The error is a *Taken.
func Find(all []*v1alpha1.NetworkFault, wanted *v1alpha1.NetworkFaultSpec, name string) (*v1alpha1.NetworkFault, string, error) {
	named := func(name string) *v1alpha1.NetworkFault {
		if i := slices.IndexFunc(all, func(f *v1alpha1.NetworkFault) bool { return f.Name == name }); i >= 0 {
			return all[i]
		}
		return nil
	}
	if name != "" {
		there := named(name)
		if there != nil && !IsAbout(&there.Spec, wanted) {
			return nil, "", taken(there)
		}
		return there, name, nil
	}
	short, long := names(wanted)
	for _, made := range []string{short, long} {
		if there := named(made); there != nil && IsAbout(&there.Spec, wanted) {
			return there, made, nil
		}
	}
	same := slices.DeleteFunc(slices.Clone(all), func(f *v1alpha1.NetworkFault) bool { return !IsAbout(&f.Spec, wanted) })
	if len(same) > 0 {
		there := slices.MinFunc(same, func(a, b *v1alpha1.NetworkFault) int { return cmp.Compare(a.Name, b.Name) })
		return there, there.Name, nil
	}
	if named(short) != nil {
		return nil, long, nil
	}
	return nil, short, nil
}

// about says what a NetworkFault is between.
func about(s *v1alpha1.NetworkFaultSpec) string {
	text := fmt.Sprintf("TidbCluster %s from %s to %s", s.Cluster, join(s.From), cmp.Or(join(s.To), "others"))
	if s.Partition {
		text += ", a partition"
	}
	if s.Seed != 0 {
		text += fmt.Sprintf(", seed %d", s.Seed)
	}
	return text
}

func join(side []v1alpha1.Selector) string {
	texts := make([]string, 0, len(side))
	for _, s := range side {
		texts = append(texts, string(s))
	}
	return strings.Join(texts, ",")
}

// names returns the names that are made for a NetworkFault: a short one, and another one for
// when an object about something else has that. Both are DNS labels.
func names(s *v1alpha1.NetworkFaultSpec) (short, long string) {
	text := s.Cluster + "-" + words(s.From)
	if to := words(s.To); to != "others" && to != "" {
		text += "-to-" + to
	}
	if s.Partition {
		text += "-cut"
	}
	if s.Seed != 0 {
		text += fmt.Sprintf("-seed-%d", s.Seed)
	}
	return Label(text), withSum(text, about(s))
}

// words writes a side with letters, digits and dashes.
func words(side []v1alpha1.Selector) string {
	return strings.NewReplacer(")", "", "(", "-", "=", "-", ":", "-", "/", "-", ",", "-and-", "@", "-in-").Replace(join(side))
}

// Label returns a text as a DNS label: itself if it is one, else with a sum of it at its end,
// so that no two texts have one label.
func Label(text string) string {
	if len(validation.IsDNS1123Label(text)) == 0 {
		return text
	}
	return withSum(text, text)
}

// withSum returns a DNS label that begins as a text does and ends with a sum of another one.
func withSum(text, of string) string {
	const digits = 6
	sum := sha256.Sum256([]byte(of))
	text = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(text))
	text = strings.Trim(text[:min(len(text), validation.DNS1123LabelMaxLength-digits-1)], "-")
	return strings.TrimPrefix(text+"-"+hex.EncodeToString(sum[:])[:digits], "-")
}
