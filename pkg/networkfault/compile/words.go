package compile

import "strings"

// Of names what a fault of a pod comes from, for people, who did not choose its own name:
// "NetworkFault a", "NetworkFaults a and b together", or "NetworkTopology ground and
// NetworkFault a together".
func (f Fault) Of() string {
	var names, kinds []string
	for _, object := range f.Objects {
		if _, isTopology := CutTopologyKey(object); isTopology {
			kinds = append(kinds, Describe(object))
		} else {
			names = append(names, object)
		}
	}
	switch last := len(names) - 1; {
	case last > 0:
		kinds = append(kinds, "NetworkFaults "+strings.Join(names[:last], ", ")+" and "+names[last])
	case last == 0:
		kinds = append(kinds, Describe(names[0]))
	}
	text := strings.Join(kinds, " and ")
	if len(f.Objects) > 1 {
		text += " together"
	}
	return text
}

// Describe names an object for people: "NetworkTopology ground", "NetworkFault a".
func Describe(object string) string {
	if name, isTopology := CutTopologyKey(object); isTopology {
		return "NetworkTopology " + name
	}
	return "NetworkFault " + object
}

// Noun is what an object is called in a sentence: "topology" or "fault".
func Noun(object string) string {
	if _, isTopology := CutTopologyKey(object); isTopology {
		return "topology"
	}
	return "fault"
}
