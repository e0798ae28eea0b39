/*
 * Lanes where the system has no memfd: there are none.
 */
#include "lib/lib.h"

int
varta_lane_open(struct varta_agent *agent, const char *name,
    uint32_t threshold_ms, struct varta_lane **ret_lane)
{
	(void)name;
	(void)threshold_ms;
	(void)ret_lane;
	return agent == NULL ? VARTA_ERR_CLOSED : VARTA_ERR_UNSUPPORTED;
}

void
varta_lane_beat(struct varta_lane *lane)
{
	(void)lane;
}

void
varta_lane_idle(struct varta_lane *lane)
{
	(void)lane;
}

void
varta_lane_set_status(struct varta_lane *lane, enum varta_status status)
{
	(void)lane;
	(void)status;
}

void
varta_lane_close(struct varta_lane *lane)
{
	(void)lane;
}

int
varta_lanes_attach(struct varta_agent *agent)
{
	return agent == NULL ? VARTA_ERR_CLOSED : VARTA_ERR_UNSUPPORTED;
}

int
varta__lanes_look(struct varta_agent *agent, uint64_t now_ns)
{
	(void)agent;
	(void)now_ns;
	return 0;
}

void
varta__lanes_follow(struct varta_agent *agent, bool is_another)
{
	(void)agent;
	(void)is_another;
}

void
varta__lanes_leave(struct varta_agent *agent)
{
	(void)agent;
}

void
varta__lanes_free(struct varta_agent *agent)
{
	(void)agent;
}
