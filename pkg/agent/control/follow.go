package control

import (
	"fmt"

	"github.com/tidelay/tidelay/pkg/fault"
)

// Follow makes the desired faults act in a scope, as far as that is possible now.
// It is called when interfaces have come, gone or been replaced.
func (c *Control) Follow(scope fault.Scope) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.engine.SetScope(scope)
	if !c.known { // Restore could not find out; what an earlier agent left stays
		return nil
	}
	if err := c.engine.Reapply(c.desired.Faults); err != nil {
		return fmt.Errorf("apply faults to changed interfaces: %w", err)
	}
	return nil
}
