include $(sort $(wildcard $(BR2_EXTERNAL_BACKROW_PATH)/package/*/*.mk))
