/* share: two levels of the same rule. */
#include "worker/share.h"

#include "schemas/base/check.h"

/* What one of `count` may take, that holds `used` where `unused` is left: the most by which it
 * stays within SHARE_FACTOR times what is unused afterwards. */
static size_t allowance(size_t unused, size_t used, size_t count)
{
    if (count == 1) {
        return unused;
    }
    return SHARE_FACTOR * unused > used ? (SHARE_FACTOR * unused - used) / (SHARE_FACTOR + 1) : 0;
}

void share_init(struct share *share, size_t room)
{
    *share = (struct share){.room = room};
}

void share_join(struct share *share, struct share_member *member, size_t topic)
{
    CHECK(topic < CONFIG_NAMES_MAX);
    *member = (struct share_member){.share = share, .topic = topic};
    if (share->topics[topic].members_count++ == 0) {
        share->topics_count++;
    }
}

void share_leave(struct share_member *member)
{
    struct share *share = member->share;
    if (share == NULL) {
        return;
    }
    struct share_topic *topic = &share->topics[member->topic];
    topic->used -= member->used;
    share->used -= member->used;
    if (--topic->members_count == 0) {
        share->topics_count--;
    }
    member->share = NULL;
}

size_t share_left(const struct share_member *member)
{
    const struct share *share = member->share;
    if (share == NULL || share->used >= share->room) {
        return 0;
    }
    const struct share_topic *topic = &share->topics[member->topic];
    size_t left = allowance(share->room - share->used, topic->used, share->topics_count);
    return allowance(left, member->used, topic->members_count);
}

bool share_allows(const struct share_member *member, size_t amount)
{
    return member->used == 0 || amount <= share_left(member);
}

bool share_is_ample(const struct share_member *member)
{
    size_t left = share_left(member);
    return member->used == 0 || (left > 0 && left >= member->used / SHARE_FACTOR);
}

void share_take(struct share_member *member, size_t amount)
{
    member->used += amount;
    if (member->share != NULL) {
        member->share->topics[member->topic].used += amount;
        member->share->used += amount;
    }
}

void share_give(struct share_member *member, size_t amount)
{
    CHECK(member->used >= amount);
    member->used -= amount;
    if (member->share != NULL) {
        member->share->topics[member->topic].used -= amount;
        member->share->used -= amount;
    }
}
