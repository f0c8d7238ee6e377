package table

// slab is room for the small parts of compiled requests, which would be an
// allocation each. It is a part of a [Request] and lives as long.
type slab struct {
	conditions []condition
	operands   []operand
	steps      []step
}

// slabSize is enough for what most requests have of each.
const slabSize = 6

// condition returns a new condition.
func (s *slab) condition(c condition) *condition {
	if len(s.conditions) == cap(s.conditions) {
		s.conditions = make([]condition, 0, slabSize)
	}
	s.conditions = append(s.conditions, c)
	return &s.conditions[len(s.conditions)-1]
}

// list returns a copy of operands.
func (s *slab) list(args ...operand) []operand {
	if len(s.operands)+len(args) > cap(s.operands) {
		s.operands = make([]operand, 0, max(slabSize, len(args)))
	}
	n := len(s.operands)
	s.operands = append(s.operands, args...)
	return s.operands[n:len(s.operands):len(s.operands)]
}

// path returns a path of one step.
func (s *slab) path(first step) path {
	if len(s.steps) == cap(s.steps) {
		s.steps = make([]step, 0, slabSize)
	}
	n := len(s.steps)
	s.steps = append(s.steps, first)
	return s.steps[n : n+1 : n+1]
}
