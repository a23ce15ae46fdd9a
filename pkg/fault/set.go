package fault

// Find returns the fault of that name, nil if there is none.
func Find(faults []Fault, name string) *Fault {
	for i := range faults {
		if faults[i].Name == name {
			return &faults[i]
		}
	}
	return nil
}

// Names returns the names of faults in their order, never nil.
func Names(faults []Fault) []string {
	names := make([]string, 0, len(faults))
	for _, f := range faults {
		names = append(names, f.Name)
	}
	return names
}
