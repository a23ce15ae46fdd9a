package fault

// Scope is where faults act.
type Scope struct {
	// Devices are the names of the interfaces that packets cross. Some may be
	// missing; faults wait for them.
	Devices []string
	// Exempt is the traffic that no fault touches.
	Exempt Exemption
}
